//! What typical events come to in the table, by the code that writes them.

use anyhow::Context;
use shared::message::Message;

use crate::figure::Stored;
use crate::workload::{
    LEAST_BYTES, TYPICAL_BYTES, packed_messages, segment_batch, segment_event, vero_event, vero_message,
};

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
        segment("Segment, track from a browser", TYPICAL_BYTES)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typical_events_are_items_of_about_their_own_size() {
        for row in rows().unwrap() {
            let raw = row.raw_bytes as u64;
            assert!(row.item_bytes > raw / 2 && row.item_bytes < raw + 400, "{row:?}");
        }
    }
}
