//! A bundle: several events of a subject and an hour in one item, compressed together.
//!
//! The bundles of a subject and an hour are numbered, and are together their *log*. Its bundles lie before the hour's
//! events that have items of their own: `E#2024-05-01T10#00` comes before `E#2024-05-01T10:15:00.000Z#m1`. The hour is that
//! of the time in the event's key, so that the key of an event tells in which log it can be, and in no other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::limits::{EVENT_ID_BYTES_MAX, RECEIPT_BYTES_MAX};

use crate::compressed::{deflate, inflate};
use crate::store::{EVENT_SORT, JSON_TEXTS, ORIGIN, expand};
use crate::table::{Attributes, Item, Key, Value};

/// The most bundles of a log. What comes after them has items of its own, so that reading a log stays cheap.
///
/// This and [`LOG_BYTES_MAX`] say where events are stored, so they can never be changed: a log that is full would take
/// more, and among it what has an item already.
pub const BUNDLES_MAX: usize = 16;
/// The bytes of its bundles with which a log is full, too: reading them takes 16 read units.
pub const LOG_BYTES_MAX: usize = 64 * 1_024;
/// The most bytes of the events of a bundle, before they are compressed, unless there is only one.
pub const BUNDLE_BYTES_MAX: usize = 256 * 1_024;
/// The most events of a bundle, so that what tells them apart is small beside them.
pub const BUNDLE_EVENTS_MAX: usize = 100;
/// The most bytes of the ids of a bundle, before they are compressed: of each event a sort key, an origin and what is
/// around them. What JSON escapes is longer in it, and no longer once it is compressed.
pub const IDS_BYTES_MAX: usize = BUNDLE_EVENTS_MAX * (64 + EVENT_ID_BYTES_MAX + 16 + RECEIPT_BYTES_MAX);
/// The number that changes with every write of a bundle.
pub const VERSION: &str = "ver";
/// All that is needed to tell what has been here: [`Ids`], compressed JSON.
pub const IDS: &str = "ids";
/// Everything else of the events, attribute by attribute and in the same order, compressed JSON.
const EVENTS: &str = "z";
/// How many events there are.
const COUNT: &str = "n";
/// The length of an hour's text: `2024-05-01T10`.
const HOUR_LENGTH: usize = 13;

/// Which events are in a bundle, and which have been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Sort key and origin of each event.
    pub events: Vec<(String, String)>,
    /// What is left of those that were erased: the [`trace_of`] each.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub erased: BTreeSet<String>,
    /// The bytes of the events of the log up to and with this bundle, as they were when it was appended: what is erased
    /// later must not open a log again that was full.
    pub log_bytes: usize,
}

/// A bundle as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The version, for the guard of the next write.
    pub version: i64,
    /// The events, as they would be as items of their own.
    pub events: Vec<(Key, Attributes)>,
    /// What is left of those that were erased.
    pub erased: BTreeSet<String>,
    log_bytes: usize,
}

/// What is left of an event that was erased. A delivery that goes on after another has settled the message must find that
/// the event has been here; a hash tells it that, and tells nobody else anything.
#[must_use]
pub fn trace_of(event_sort: &str) -> String {
    shared::keys::hash(&["erased", event_sort])
}

/// What the sort keys of the bundles begin with in which an event with this sort key can be; `None` if it is none.
#[must_use]
pub fn prefix_of(event_sort: &str) -> Option<String> {
    let hour = event_sort.strip_prefix(EVENT_SORT)?.get(..HOUR_LENGTH)?;
    Some(format!("{EVENT_SORT}{hour}#"))
}

/// The number of a bundle by its sort key; `None` if it is none.
#[must_use]
pub fn number_of(sort: &str) -> Option<usize> {
    let (hour, number) = sort.strip_prefix(EVENT_SORT)?.split_at_checked(HOUR_LENGTH)?;
    let is_hour = hour.as_bytes().get(HOUR_LENGTH - 3) == Some(&b'T');
    let is_number = |text: &&str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    number.strip_prefix('#').filter(is_number).filter(|_| is_hour)?.parse().ok()
}

/// The sort key of a bundle of the log whose sort keys begin with `prefix`.
#[must_use]
pub fn sort_of(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:02}")
}

/// About how many bytes an item's event takes in a bundle, before it is compressed.
#[must_use]
pub fn bytes_in(item: &Item) -> usize {
    let attributes = item.attributes.iter().map(|(name, value)| match value {
        Value::Text(text) if !JSON_TEXTS.contains(name) => json(text).len(),
        Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::Bytes(_) => value.bytes(),
    });
    json(&item.key.sk).len() + attributes.sum::<usize>() + item.attributes.len()
}

/// The bytes of a log with a new bundle, of which those before have `log_bytes`.
#[must_use]
pub fn log_bytes(bundle: &Item, log_bytes: usize) -> usize {
    log_bytes + bundle.attributes.get(EVENTS).map_or(0, Value::bytes)
}

/// The item of a new bundle, with events as they would be as items of their own, behind bundles of `log_bytes`.
#[must_use]
pub fn encode<'a, Name, Of>(key: Key, log_bytes: usize, events: impl IntoIterator<Item = (&'a Key, Of)>) -> Item
where
    Name: AsRef<str> + 'a,
    Of: IntoIterator<Item = (&'a Name, &'a Value)>,
{
    encode_again(key, 1, events, Past { erased: BTreeSet::new(), log_bytes, is_new: true })
}

/// What a bundle keeps of the log, and of what was in it.
struct Past {
    erased: BTreeSet<String>,
    log_bytes: usize,
    /// Whether its own bytes are yet to be added.
    is_new: bool,
}

fn encode_again<'a, Name, Of>(
    key: Key,
    version: i64,
    events: impl IntoIterator<Item = (&'a Key, Of)>,
    past: Past,
) -> Item
where
    Name: AsRef<str> + 'a,
    Of: IntoIterator<Item = (&'a Name, &'a Value)>,
{
    let mut ids = Ids { events: vec![], erased: past.erased, log_bytes: past.log_bytes };
    // By attribute rather than by event: what is alike lies together, within the 32 KiB that zlib looks back.
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    for (number, (event_key, attributes)) in events.into_iter().enumerate() {
        let mut origin = "";
        for (name, value) in attributes {
            match name.as_ref() {
                ORIGIN => origin = value.text().unwrap_or_default(),
                name => columns.entry(name.to_owned()).or_default().push(number, name, value),
            }
        }
        ids.events.push((event_key.sk.clone(), origin.to_owned()));
    }
    let count = ids.events.len();
    let columns = columns.into_iter().map(|(name, column)| format!("{}:{}", json(&name), column.finish(count)));
    let columns = format!("{{{}}}", columns.collect::<Vec<String>>().join(","));
    let mut item = Item { key, attributes: BTreeMap::new() };
    item.number(VERSION, version);
    item.number(COUNT, i64::try_from(count).unwrap_or(i64::MAX));
    item.bytes_of(EVENTS, deflate(columns.as_bytes()));
    if past.is_new {
        ids.log_bytes = log_bytes(&item, past.log_bytes);
    }
    item.bytes_of(IDS, deflate(&serde_json::to_vec(&ids).expect("ids are text and numbers")));
    item
}

/// The values of one attribute of all events, as a JSON array with `null` for those that have none.
#[derive(Default)]
struct Column {
    text: String,
    count: usize,
}

impl Column {
    fn push(&mut self, number: usize, name: &str, value: &Value) {
        self.fill(number);
        self.text.push(if self.count == 0 { '[' } else { ',' });
        self.count += 1;
        match value {
            // It is JSON already, and stays as its producer wrote it.
            Value::Text(text) if JSON_TEXTS.contains(&name) => self.text.push_str(text),
            Value::Text(text) => self.text.push_str(&json(text)),
            Value::Number(number) => drop(write!(self.text, "{number}")),
            Value::Flag(flag) => drop(write!(self.text, "{flag}")),
            // No event has any: what is compressed is a bundle, or is read as what it was.
            Value::Bytes(_) => self.text.push_str("null"),
        }
    }

    fn fill(&mut self, count: usize) {
        while self.count < count {
            self.text.push_str(if self.count == 0 { "[null" } else { ",null" });
            self.count += 1;
        }
    }

    fn finish(mut self, count: usize) -> String {
        self.fill(count);
        self.text + "]"
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// Reads which events are in a bundle, of which no more than [`IDS`] need be known; `None` if that cannot be read.
#[must_use]
pub fn ids(attributes: &Attributes) -> Option<Ids> {
    let Value::Bytes(bytes) = attributes.get(IDS)? else { return None };
    serde_json::from_slice(&inflate(bytes)?).ok()
}

impl Bundle {
    /// Reads an item; `None` if it is no bundle, or is damaged.
    #[must_use]
    pub fn read(key: &Key, attributes: &Attributes) -> Option<Self> {
        number_of(&key.sk)?;
        let Ids { events, erased, log_bytes } = ids(attributes)?;
        let Value::Bytes(bytes) = attributes.get(EVENTS)? else { return None };
        let columns: HashMap<String, Vec<Option<Box<RawValue>>>> = serde_json::from_slice(&inflate(bytes)?).ok()?;
        let event = |(sk, origin): (String, String)| {
            let attributes = Attributes::from([(ORIGIN.to_owned(), Value::Text(origin))]);
            (Key { pk: key.pk.clone(), sk }, attributes)
        };
        let mut events: Vec<(Key, Attributes)> = events.into_iter().map(event).collect();
        for (name, column) in columns {
            if column.len() != events.len() {
                return None;
            }
            for ((_, attributes), raw) in events.iter_mut().zip(column) {
                if let Some(raw) = raw {
                    attributes.insert(name.clone(), read_value(&name, &raw)?);
                }
            }
        }
        Some(Self { version: attributes.get(VERSION)?.number()?, events, erased, log_bytes })
    }

    /// The item without the events that are to be erased; `None` if none is. It keeps its number taken even without any.
    #[must_use]
    pub fn without(&self, key: &Key, is_erased: impl Fn(&Attributes) -> bool) -> Option<Item> {
        let (gone, left): (Vec<_>, Vec<_>) = self.events.iter().partition(|(_, event)| is_erased(event));
        let traces = gone.iter().map(|(key, _)| trace_of(&key.sk));
        let erased = self.erased.iter().cloned().chain(traces).collect();
        let left = left.into_iter().map(|(key, event)| (key, event));
        let past = Past { erased, log_bytes: self.log_bytes, is_new: false };
        (!gone.is_empty()).then(|| encode_again(key.clone(), self.version + 1, left, past))
    }
}

fn read_value(name: &str, raw: &RawValue) -> Option<Value> {
    let text = raw.get();
    Some(match text.as_bytes().first()? {
        _ if JSON_TEXTS.contains(&name) => Value::Text(text.to_owned()),
        b'"' => Value::Text(serde_json::from_str(text).ok()?),
        b't' | b'f' => Value::Flag(serde_json::from_str(text).ok()?),
        _ => Value::Number(serde_json::from_str(text).ok()?),
    })
}

/// The events of an item that a table holds: of a bundle each, of one that holds an event that one, and of any other the
/// item itself. What cannot be read is shown as it is.
#[must_use]
pub fn unpack(key: Key, attributes: Attributes) -> Vec<(Key, Attributes)> {
    match Bundle::read(&key, &attributes) {
        Some(bundle) => bundle.events,
        None if number_of(&key.sk).is_some() => vec![(key, attributes)],
        None => vec![(key, expand(attributes))],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::table::as_read;

    fn key(sk: &str) -> Key {
        Key { pk: "dev#ann".to_owned(), sk: sk.to_owned() }
    }

    fn item(number: usize, name: &str, data: &str) -> Item {
        let mut item =
            Item { key: key(&format!("E#2024-05-01T10:15:00.{number:03}Z#m{number}")), attributes: BTreeMap::new() };
        item.text(ORIGIN, format!("r1.{number}"));
        item.text("kind", "track");
        if !name.is_empty() {
            item.text("name", name);
        }
        item.number("time", 1_714_558_500_000 + i64::try_from(number).unwrap());
        item.text("data", data);
        item
    }

    fn owned(item: &Item) -> Attributes {
        as_read(&item.attributes)
    }

    proptest! {
        #[test]
        fn events_come_out_of_a_bundle_as_they_would_be_as_items(
            texts in prop::collection::vec((".{0,20}", ".{0,40}"), 0..20),
        ) {
            let data = |text: &str| format!("{{ \"a\" : {},\n\"b\":1.50}}", serde_json::to_string(text).unwrap());
            let items: Vec<Item> =
                texts.iter().enumerate().map(|(number, (name, text))| item(number, name, &data(text))).collect();
            let bundle = encode(key("E#2024-05-01T10#00"), 0, items.iter().map(|item| (&item.key, &item.attributes)));
            let found = unpack(bundle.key.clone(), owned(&bundle));
            let expected: Vec<(Key, Attributes)> = items.iter().map(|item| (item.key.clone(), owned(item))).collect();
            prop_assert_eq!(&found, &expected);
            // What has been read can be written again.
            let again = encode(bundle.key.clone(), 0, found.iter().map(|(key, attributes)| (key, attributes)));
            prop_assert_eq!(again, bundle);
        }
    }

    #[test]
    fn an_event_names_the_only_log_that_it_can_be_in() {
        let sort = "E#2024-05-01T10:15:00.000Z#m1";
        let prefix = prefix_of(sort).unwrap();
        assert_eq!(sort_of(&prefix, 7), "E#2024-05-01T10#07");
        assert_eq!(number_of("E#2024-05-01T10#07"), Some(7));
        assert!(sort_of(&prefix, BUNDLES_MAX - 1).as_str() < sort && prefix.as_str() > "E#2024-05-01T09:59:59.999Z#m1");
        for no_bundle in
            [sort, "PROFILE", "E#", "E#2024-05-01T10#7", "E#2024-05-01T10#+7", "E#2024-05-01T10:15:00.000Z##07", "E#x"]
        {
            assert_eq!(number_of(no_bundle), None, "{no_bundle}");
        }
    }

    #[test]
    fn of_what_is_erased_a_bundle_keeps_a_trace_that_says_nothing() {
        let items = [item(1, "a", "{}"), item(2, "b", "{}")];
        let first = encode(key("E#2024-05-01T10#03"), 70_000, items.iter().map(|item| (&item.key, &item.attributes)));
        let read = |item: &Item| Bundle::read(&item.key, &owned(item)).unwrap();
        let named = |name: &'static str| move |event: &Attributes| event["name"].text() == Some(name);
        assert_eq!(read(&first).without(&first.key, named("c")), None);
        let second = read(&first).without(&first.key, named("a")).unwrap();
        let third = read(&second).without(&first.key, named("b")).unwrap();
        let sorts: Vec<&str> = items.iter().map(|item| item.key.sk.as_str()).collect();
        assert_eq!((read(&second).version, read(&third).version), (2, 3));
        let bytes = [&first, &second, &third].map(|item| read(item).log_bytes);
        assert!(bytes[0] > 70_000 && bytes == [bytes[0]; 3], "a log that was full stays so: {bytes:?}");
        assert_eq!(read(&second).events, [(items[1].key.clone(), owned(&items[1]))]);
        assert_eq!(read(&second).erased, BTreeSet::from([trace_of(sorts[0])]));
        assert_eq!(
            (read(&third).events.len(), read(&third).erased),
            (0, sorts.iter().map(|sort| trace_of(sort)).collect())
        );
        let Value::Bytes(bytes) = &third.attributes[IDS] else { panic!() };
        let text = String::from_utf8(inflate(bytes).unwrap()).unwrap();
        assert!(!text.contains("m1") && !text.contains("2024"), "{text}");
    }

    #[test]
    fn a_damaged_bundle_is_shown_as_it_is() {
        let one = item(1, "a", "{}");
        let mut bundle = encode(key("E#2024-05-01T10#00"), 0, [(&one.key, &one.attributes)]);
        bundle.bytes_of(EVENTS, b"none of ours".to_vec());
        assert_eq!(Bundle::read(&bundle.key, &owned(&bundle)), None);
        assert_eq!(unpack(bundle.key.clone(), owned(&bundle)), [(bundle.key.clone(), owned(&bundle))]);
    }
}
