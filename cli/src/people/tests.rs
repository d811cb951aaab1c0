//! People in tables of memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use consume::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, Table, Value};
use shared::clock::Timestamp;
use shared::outcome::Cause;

use super::*;

/// A table whose queries give two items at the most.
#[derive(Default)]
struct Memory(BTreeMap<Key, Attributes>);

impl Memory {
    fn event(&mut self, subject: &str, millis: i64, id: &str) {
        let texts = [("kind", "track"), ("name", id), ("src", "web"), ("rcpt", "r.0"), ("data", "{ \"a\":1 }")];
        let mut item: Attributes =
            texts.map(|(name, text)| (name.to_owned(), Value::Text(text.to_owned()))).into_iter().collect();
        item.insert("time".to_owned(), Value::Number(millis));
        self.0.insert(event_key(subject, millis, id), item);
    }

    fn profile(&mut self, id: &str, texts: &[(&str, &str)]) {
        let text = |(name, text): &(&str, &str)| ((*name).to_owned(), Value::Text((*text).to_owned()));
        let mut item: Attributes = texts.iter().map(text).collect();
        item.insert("ver".to_owned(), Value::Number(1));
        self.0.insert(Key { pk: format!("dev#{id}"), sk: "PROFILE".into() }, item);
    }
}

fn event_key(subject: &str, millis: i64, id: &str) -> Key {
    Key { pk: format!("dev#{subject}"), sk: format!("E#{}#{id}", at(millis)) }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

impl Events for Memory {
    async fn slice(&self, partition: &str, range: &Range, order: Order, count_max: usize) -> Result<Slice, Cause> {
        let inside = |key: &Key| key.pk == partition && (&range.first..=&range.last).contains(&&key.sk);
        let mut items: Vec<_> = self.0.iter().filter(|(key, _)| inside(key)).collect();
        if order == Order::NewestFirst {
            items.reverse();
        }
        let wanted = items.iter().take(count_max.min(2)).map(|(key, item)| ((*key).clone(), (*item).clone()));
        let wanted: Vec<_> = wanted.collect();
        Ok(Slice { is_whole: wanted.len() == items.len(), items: wanted })
    }
}

impl Table for Memory {
    async fn get(&self, keys: &[Key], _: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        Ok(keys.iter().filter_map(|key| Some((key.clone(), self.0.get(key)?.clone()))).collect())
    }

    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        vec![Insert::Failed(Cause::Denied); items.len()]
    }

    async fn replace(&self, _: &Item, _: Guard) -> Result<bool, Replace> {
        Err(Replace::Failed(Cause::Denied))
    }

    async fn query(&self, _: &str, _: &str, _: Option<&str>) -> Result<Page, Cause> {
        Err(Cause::Denied)
    }

    async fn scan(&self, _: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        Err(Cause::Denied)
    }

    async fn put(&self, _: &[Item]) -> Result<(), Cause> {
        Err(Cause::Denied)
    }

    async fn delete(&self, _: &[Key]) -> Result<(), Cause> {
        Err(Cause::Denied)
    }
}

fn query(ids: &[&str], order: Order, count: usize) -> Query {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Query { project: "dev".into(), ids, order, since: None, until: None, count }
}

/// The names of all events of a timeline, read page after page by the texts of its places.
async fn names(events: &Memory, query: &Query) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None::<String>);
    for _ in 0..100 {
        let place = after.map(|text| text.parse::<Cursor>().unwrap());
        let page = page(events, query, place.as_ref()).await.unwrap();
        assert!(page.events.len() <= query.count);
        names.extend(page.events.into_iter().filter_map(|event| event.name));
        match page.next {
            Some(next) => after = Some(next.to_string()),
            None => return names,
        }
    }
    panic!("the timeline does not end");
}

#[tokio::test]
async fn a_timeline_has_each_event_of_all_ids_once_and_in_order_whatever_the_page() {
    let mut events = Memory::default();
    for (subject, millis, id) in [
        ("ann", 1, "a"),
        ("anon", 2, "b"),
        ("ann", 3, "c"),
        ("ann", 3, "d"),
        ("anon", 3, "d"),
        ("ann", 4, "e"),
        ("anon", 9, "f"),
        ("bob", 5, "no"),
    ] {
        events.event(subject, millis, id);
    }
    let in_order = ["a", "b", "c", "d", "d", "e", "f"];
    for count in 1..=8 {
        let ids = &["ann", "anon", "nobody"];
        assert_eq!(names(&events, &query(ids, Order::OldestFirst, count)).await, in_order, "{count}");
        let mut newest_first = names(&events, &query(ids, Order::NewestFirst, count)).await;
        newest_first.reverse();
        assert_eq!(newest_first, in_order, "{count}");
    }
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let some = Query { since: Some(at(2)), until: Some(at(3)), ..query(&["ann", "anon"], order, 2) };
        assert_eq!(names(&events, &some).await.len(), 4);
        assert!(names(&events, &Query { since: Some(at(5)), until: Some(at(3)), ..some }).await.is_empty());
    }
}

#[tokio::test]
async fn what_is_left_of_an_erased_event_is_no_event_and_ends_no_timeline() {
    let mut events = Memory::default();
    for millis in 0..5 {
        let rest = Attributes::from([("erased".to_owned(), Value::Number(1)), ("ttl".to_owned(), Value::Number(1))]);
        events.0.insert(event_key("ann", millis, "gone"), rest);
    }
    events.event("ann", 7, "here");
    let query = query(&["ann"], Order::OldestFirst, 1);
    let first = page(&events, &query, None).await.unwrap();
    assert!(first.events.is_empty() && first.next.is_some());
    assert_eq!(names(&events, &query).await, ["here"]);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let events = Memory::default();
    for count in [0, PAGE_MAX + 1] {
        let error = page(&events, &query(&["ann"], Order::OldestFirst, count), None).await.unwrap_err();
        assert!(matches!(error, Error::NoPage { .. }));
    }
    let project = Query { project: "KEY".into(), ..query(&["ann"], Order::OldestFirst, 1) };
    assert!(matches!(page(&events, &project, None).await, Err(Error::NoProject { .. })));
    for text in ["", "E#", "WyJQUk9GSUxFIiwiYW5uIl0"] {
        assert!(matches!(text.parse::<Cursor>(), Err(Error::NoCursor { .. })), "{text}");
    }
}

#[tokio::test]
async fn a_person_is_all_that_became_them() {
    let mut table = Memory::default();
    table.profile("ann", &[("events", "[\"m\"]"), ("traits", "{\"plan\":[\"pro\",5,0]}"), ("from", "[\"anon\"]")]);
    let traits = "{\"plan\":[\"free\",1,0],\"age\":[41,1,0]}";
    let tags = "{\"vip\":[true,1,0],\"old\":[false,1,0]}";
    let subscription = "{\"subscribed\":[false,1,0]}";
    let texts = [("events", "[\"m\"]"), ("traits", traits), ("tags", tags), ("subscription", subscription)];
    table.profile("anon", &[&texts[..], &[("into", "[\"ann\"]"), ("from", "[\"older\"]")]].concat());
    let ann = known(&table, "dev", "ann").await.unwrap().unwrap();
    // The oldest id has no profile of its own, and may have events all the same.
    assert_eq!(ann.ids, BTreeSet::from(["ann", "anon", "older"].map(str::to_owned)));
    assert_eq!((ann.traits["plan"].get(), ann.traits["age"].get()), ("\"pro\"", "41"));
    assert_eq!((ann.tags, ann.subscribed), (BTreeSet::from(["vip".to_owned()]), Some(false)));
    let anon = known(&table, "dev", "anon").await.unwrap().unwrap();
    assert_eq!((anon.traits["plan"].get(), anon.later_ids), ("\"free\"", BTreeSet::from(["ann".to_owned()])));
    assert!(known(&table, "dev", "nobody").await.unwrap().is_none());
    table.profile("bad", &[("traits", "[]")]);
    assert!(matches!(known(&table, "dev", "bad").await, Err(Error::Damaged { .. })));
}
