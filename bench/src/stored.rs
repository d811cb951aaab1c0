//! What typical events come to in the table, by the code that writes them.

use anyhow::Context;
use consume::bundle;
use consume::store::plain;
use consume::table::{Item, Key};
use shared::message::Message;

use crate::figure::Stored;
use crate::workload::{
    LEAST_BYTES, TYPICAL_BYTES, packed_messages, personal_batch, segment_batch, segment_event, vero_event, vero_message,
};

/// A typical event of a browser.
pub const BROWSER: &str = "Segment, track from a browser";

/// Typical events, from small to large.
///
/// # Errors
/// Our own `ingest` refuses them.
pub fn rows() -> anyhow::Result<Vec<Stored>> {
    let row = |what: &str, raw_bytes: usize, message: &Message| {
        let event = message.events.first().context("no event")?;
        let item = consume::store::item(message, event);
        let (item_bytes, write_units) = (item.bytes() as u64, item.write_units() as u64);
        anyhow::Ok(Stored { what: what.to_owned(), raw_bytes, item_bytes, write_units })
    };
    let segment = |what: &str, bytes: usize| {
        let messages = packed_messages("dev", &segment_batch(0, 1, bytes))?;
        row(what, segment_event(0, bytes).to_string().len(), &Message::decode(&messages[0])?)
    };
    let vero = vero_message(1)?;
    Ok(vec![
        row("Vero, track", vero_event(1).to_string().len(), &vero)?,
        segment("Segment, track from a server", LEAST_BYTES + 100)?,
        segment(BROWSER, TYPICAL_BYTES)?,
        packed()?,
    ])
}

/// A hundred events of a person's visit, packed.
fn packed() -> anyhow::Result<Stored> {
    let body = personal_batch(0, 100, TYPICAL_BYTES);
    let mut bundles = Vec::new();
    for text in packed_messages("dev", &body)? {
        bundles.extend(bundles_of(&Message::decode(&text)?));
    }
    let (bytes, units): (usize, usize) =
        bundles.iter().fold((0, 0), |(bytes, units), item| (bytes + item.bytes(), units + item.write_units()));
    Ok(Stored {
        what: "100 of one person from a browser, packed".to_owned(),
        raw_bytes: body.len(),
        item_bytes: bytes as u64,
        write_units: units as u64,
    })
}

/// The bundles that the events of a message come to, which are all of one person and hour.
#[must_use]
pub fn bundles_of(message: &Message) -> Vec<Item> {
    let items: Vec<Item> = message.events.iter().map(|event| plain(message, event)).collect();
    let chunks = items.chunks(bundle::BUNDLE_EVENTS_MAX).enumerate();
    let bundle = |(number, some): (usize, &[Item])| {
        let first = &some.first()?.key;
        let key = Key { pk: first.pk.clone(), sk: bundle::sort_of(&bundle::prefix_of(&first.sk)?, number) };
        Some(bundle::encode(key, 0, some.iter().map(|item| (&item.key, &item.attributes))))
    };
    chunks.filter_map(bundle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_typical_event_is_one_write_unit_and_packed_a_fraction_of_one() {
        let rows = rows().unwrap();
        let (packed, single) = rows.split_last().unwrap();
        for row in single {
            assert!(row.item_bytes > row.raw_bytes as u64 / 2 && row.write_units == 1, "{row:?}");
        }
        assert!(packed.write_units < 20 && packed.item_bytes < packed.raw_bytes as u64 / 5, "{packed:?}");
    }
}
