//! People in tables of memory.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use consume::bundle;
use consume::dead_letter::{Letter, Stage};
use consume::decode::Delivery;
use consume::letters::LINK_PREFIX;
use consume::links::{self, Kind};
use consume::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, Table, Value, as_read};
use futures_util::FutureExt;
use proptest::prelude::*;
use shared::clock::Timestamp;
use shared::limits::JOINED_MAX;
use shared::outcome::{Cause, Reason};

use super::erase::{Erased, Whom, erase};
use super::*;
use crate::dead_letters::Tables;

/// A table whose queries give so many items at the most.
struct Memory(Mutex<BTreeMap<Key, Attributes>>, usize);

impl Default for Memory {
    fn default() -> Self {
        Self::of_pages(2)
    }
}

impl Memory {
    fn of_pages(items: usize) -> Self {
        Self(Mutex::default(), items)
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<Key, Attributes>> {
        self.0.lock().unwrap()
    }

    /// An event on a device, which names a user, or nobody.
    fn event_on(&self, device: &str, millis: i64, id: &str, user: &str) {
        self.event(device, millis, id);
        let user = ("user".to_owned(), Value::Text(user.to_owned()));
        self.items().get_mut(&event_key(device, millis, id)).unwrap().extend([user]);
    }

    /// A user and a device that were seen together.
    fn seen(&self, user: &str, device: &str) {
        self.link(user, Kind::Device, device);
        self.link(device, Kind::User, user);
    }

    fn letter(&self, letter: &Letter) -> Key {
        let items = letter.items(letter.first_seen, Duration::from_secs(86_400));
        self.items().extend(items.iter().map(|item| (item.key.clone(), as_read(&item.attributes))));
        letter.key.clone()
    }

    fn event(&self, subject: &str, millis: i64, id: &str) {
        let texts = [("kind", "track"), ("name", id), ("src", "web"), ("rcpt", "r.0"), ("data", "{ \"a\":1 }")];
        let mut item: Attributes =
            texts.map(|(name, text)| (name.to_owned(), Value::Text(text.to_owned()))).into_iter().collect();
        item.insert("time".to_owned(), Value::Number(millis));
        self.items().insert(event_key(subject, millis, id), item);
    }

    /// Puts some of the events of a subject and an hour into a bundle.
    fn pack(&self, subject: &str, millis: i64, number: usize, events: &[Key]) {
        let prefix = bundle::prefix_of(&event_key(subject, millis, "").sk).unwrap();
        let key = Key { pk: format!("dev#{subject}"), sk: bundle::sort_of(&prefix, number) };
        let events: Vec<(Key, Attributes)> =
            events.iter().map(|key| (key.clone(), self.items().remove(key).unwrap())).collect();
        let item = bundle::encode(key, 0, events.iter().map(|(key, attributes)| (key, attributes)));
        let attributes = as_read(&item.attributes);
        self.items().insert(item.key, attributes);
    }

    fn link(&self, id: &str, kind: Kind, other: &str) {
        let item = links::item("dev", id, kind, other);
        self.items().insert(item.key, as_read(&item.attributes));
    }

    fn profile(&self, id: &str, texts: &[(&str, &str)]) {
        let text = |(name, text): &(&str, &str)| ((*name).to_owned(), Value::Text((*text).to_owned()));
        let mut item: Attributes = texts.iter().map(text).collect();
        item.insert("ver".to_owned(), Value::Number(1));
        self.items().insert(Key { pk: format!("dev#{id}"), sk: "PROFILE".into() }, item);
    }
}

fn event_key(subject: &str, millis: i64, id: &str) -> Key {
    Key { pk: format!("dev#{subject}"), sk: format!("E#{}#{id}", at(millis)) }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

impl Events for Memory {
    async fn items(&self, partition: &str, range: &Range, order: Order, count_max: usize) -> Result<Items, Cause> {
        let inside = |key: &Key| key.pk == partition && (&range.first..=&range.last).contains(&&key.sk);
        let all = self.items();
        let mut items: Vec<_> = all.iter().filter(|(key, _)| inside(key)).collect();
        if order == Order::NewestFirst {
            items.reverse();
        }
        let wanted = items.iter().take(count_max.min(self.1)).map(|(key, item)| ((*key).clone(), (*item).clone()));
        let wanted: Vec<_> = wanted.collect();
        Ok(Items { is_whole: wanted.len() == items.len(), items: wanted })
    }
}

impl Table for Memory {
    async fn get(&self, keys: &[Key], _: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        let items = self.items();
        Ok(keys.iter().filter_map(|key| Some((key.clone(), items.get(key)?.clone()))).collect())
    }

    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        vec![Insert::Failed(Cause::Denied); items.len()]
    }

    async fn replace(&self, item: &Item, guard: Guard) -> Result<bool, Replace> {
        let mut items = self.items();
        let found = items.get(&item.key);
        let holds = match guard {
            Guard::Absent => found.is_none(),
            Guard::Equals(name, number) => found.and_then(|found| found.get(name)?.number()) == Some(number),
        };
        if holds {
            items.insert(item.key.clone(), as_read(&item.attributes));
        }
        Ok(holds)
    }

    async fn query(&self, partition: &str, prefix: &str, after: Option<&str>) -> Result<Page, Cause> {
        let is_behind = |sk: &str| after.is_none_or(|after| sk > after);
        let all = self.items();
        let matching =
            all.iter().filter(|(key, _)| key.pk == partition && key.sk.starts_with(prefix) && is_behind(&key.sk));
        let items: Vec<_> = matching.map(|(key, item)| (key.clone(), item.clone())).collect();
        let is_last = items.len() <= self.1;
        Ok(Page { items: items.into_iter().take(self.1).collect(), is_last })
    }

    async fn scan(&self, _: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        Err(Cause::Denied)
    }

    async fn put(&self, written: &[Item]) -> Result<(), Cause> {
        self.items().extend(written.iter().map(|item| (item.key.clone(), as_read(&item.attributes))));
        Ok(())
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), Cause> {
        let mut items = self.items();
        keys.iter().for_each(|key| drop(items.remove(key)));
        Ok(())
    }
}

/// What is asked of one who has all these ids.
fn query(ids: &[&str], order: Order, count: usize) -> Query {
    let table = Memory::default();
    ids[1..].iter().for_each(|former| table.link(ids[0], Kind::Former, former));
    let homes = homes(&table, "dev", ids[0]).now_or_never().unwrap().unwrap();
    Query { project: "dev".into(), homes, order, since: None, until: None, count }
}

/// The pages of a timeline, one after the other by the texts of its places.
async fn pages(events: &Memory, query: &Query) -> Vec<Vec<StoredEvent>> {
    let (mut pages, mut after) = (Vec::new(), None::<String>);
    for _ in 0..100 {
        let place = after.map(|text| text.parse::<Cursor>().unwrap());
        let page = page(events, query, place.as_ref()).await.unwrap();
        assert!(page.events.len() <= query.count);
        pages.push(page.events);
        match page.next {
            Some(next) => after = Some(next.to_string()),
            None => return pages,
        }
    }
    panic!("the timeline does not end");
}

/// The names of all events of a timeline.
async fn names(events: &Memory, query: &Query) -> Vec<String> {
    pages(events, query).await.into_iter().flatten().filter_map(|event| event.name).collect()
}

#[tokio::test]
async fn a_timeline_has_each_event_of_all_ids_once_and_in_order_whatever_the_page() {
    let events = Memory::default();
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
    let events = Memory::default();
    for millis in 0..5 {
        let rest = Attributes::from([("erased".to_owned(), Value::Number(1)), ("ttl".to_owned(), Value::Number(1))]);
        events.items().insert(event_key("ann", millis, "gone"), rest);
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
    let table = Memory::default();
    table.profile("ann", &[("events", "[\"m\"]"), ("traits", "{\"plan\":[\"pro\",5,0]}")]);
    let traits = "{\"plan\":[\"free\",1,0],\"age\":[41,1,0]}";
    let tags = "{\"vip\":[true,1,0],\"old\":[false,1,0]}";
    let subscription = "{\"subscribed\":[false,1,0]}";
    table.profile("anon", &[("events", "[\"m\"]"), ("traits", traits), ("tags", tags), ("subscription", subscription)]);
    table.link("ann", Kind::Former, "anon");
    table.link("anon", Kind::Later, "ann");
    // The oldest id has no profile of its own, and may have events all the same.
    table.link("anon", Kind::Former, "older");
    let look = async |table: &Memory, id: &str| {
        let homes = homes(table, "dev", id).await.unwrap();
        known(table, "dev", id, &homes).await
    };
    let ann = look(&table, "ann").await.unwrap().unwrap();
    assert_eq!(ann.ids, BTreeSet::from(["ann", "anon", "older"].map(str::to_owned)));
    assert_eq!((ann.traits["plan"].get(), ann.traits["age"].get()), ("\"pro\"", "41"));
    assert_eq!((ann.tags, ann.subscribed), (BTreeSet::from(["vip".to_owned()]), Some(false)));
    let anon = look(&table, "anon").await.unwrap().unwrap();
    assert_eq!((anon.traits["plan"].get(), anon.later_ids), ("\"free\"", BTreeSet::from(["ann".to_owned()])));
    assert!(look(&table, "nobody").await.unwrap().is_none());
    table.profile("bad", &[("traits", "[]")]);
    assert!(matches!(look(&table, "bad").await, Err(Error::Damaged { .. })));
}

#[tokio::test]
async fn on_a_device_a_user_has_what_names_them_and_what_names_nobody_if_nobody_else_was_seen() {
    let table = Memory::default();
    for (device, users) in [("own", &["ann"][..]), ("shared", &["ann", "bob"])] {
        for user in users {
            table.link(user, Kind::Device, device);
            table.link(device, Kind::User, user);
        }
    }
    for (millis, (home, user)) in (0..).zip([
        ("ann", None),
        ("own", Some("ann")),
        ("own", Some("")),
        ("own", None),
        ("shared", Some("ann")),
        ("shared", Some("")),
        ("shared", Some("bob")),
    ]) {
        let id = format!("{home} {user:?}");
        table.event(home, millis, &id);
        let key = event_key(home, millis, &id);
        table.items().get_mut(&key).unwrap().extend(user.map(|user| ("user".to_owned(), Value::Text(user.to_owned()))));
    }
    let homes = homes(&table, "dev", "ann").await.unwrap();
    assert!(homes.is_whole);
    let query = Query { homes, ..query(&["ann"], Order::OldestFirst, 2) };
    let expected = ["ann None", "own Some(\"ann\")", "own Some(\"\")", "shared Some(\"ann\")"];
    assert_eq!(names(&table, &query).await, expected);
}

#[tokio::test]
async fn of_somebody_with_more_ids_than_are_read_as_one_it_is_said_that_there_are_more() {
    for (count, is_whole) in [(JOINED_MAX - 1, true), (JOINED_MAX, false), (3 * JOINED_MAX, false)] {
        for kind in [Kind::Former, Kind::Device] {
            let table = Memory::of_pages(20);
            (0..count).for_each(|number| table.link("ann", kind, &format!("other{number}")));
            let homes = homes(&table, "dev", "ann").await.unwrap();
            assert_eq!(
                (homes.is_whole, homes.iter().count()),
                (is_whole, JOINED_MAX.min(count + 1)),
                "{kind:?} {count}"
            );
        }
    }
}

const SUBJECTS: [&str; 3] = ["ann", "anon", "older"];
const MINUTE: i64 = 60_000;

/// Some events, each with its minute of four hours, and the bundle that it is in if it is in one.
fn events() -> impl Strategy<Value = Vec<(usize, i64, Option<usize>)>> {
    prop::collection::vec((0..SUBJECTS.len(), 0..240_i64, prop::option::of(0..4_usize)), 0..24)
}

proptest! {
    #[test]
    fn a_timeline_with_bundles_has_the_pages_that_it_would_have_without(
        events in events(),
        emptied in prop::collection::vec((0..SUBJECTS.len(), 0..4_i64), 0..4),
        limit in 2..20_usize,
        count in 1..8_usize,
        (since, until) in (prop::option::of(0..240_i64), prop::option::of(0..240_i64)),
    ) {
        let (plain, packed) = (Memory::of_pages(100), Memory::of_pages(limit));
        let mut bundles: BTreeMap<(usize, i64, usize), Vec<Key>> = BTreeMap::new();
        for (number, (subject, minute, bundle)) in events.iter().enumerate() {
            let (name, millis, id) = (SUBJECTS[*subject], minute * MINUTE, format!("m{number}"));
            plain.event(name, millis, &id);
            packed.event(name, millis, &id);
            if let Some(bundle) = bundle {
                bundles.entry((*subject, minute / 60, *bundle)).or_default().push(event_key(name, millis, &id));
            }
        }
        // Of some bundles all has been erased.
        bundles.extend(emptied.into_iter().map(|(subject, hour)| ((subject, hour, 7), vec![])));
        for ((subject, hour, number), keys) in bundles {
            packed.pack(SUBJECTS[subject], hour * 60 * MINUTE, number, &keys);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let [since, until] = [since, until].map(|minute| minute.map(|minute| at(minute * MINUTE)));
            let query = Query { since, until, ..query(&SUBJECTS, order, count) };
            let [plain, packed] = [&plain, &packed].map(|table| {
                let mut pages = runtime.block_on(pages(table, &query));
                // What a table gives in parts may end with the last event, or seem to go on.
                pages.pop_if(|last| last.is_empty());
                pages.iter().map(|page| serde_json::to_string(page).unwrap()).collect::<Vec<String>>()
            });
            prop_assert_eq!(packed, plain);
        }
    }
}

#[tokio::test]
async fn an_hour_with_as_many_bundles_as_can_be_is_read_through() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let events = Memory::default();
        for minute in 0..60 {
            events.event("ann", minute * MINUTE, &format!("{minute:02}"));
        }
        for number in 0..bundle::BUNDLES_MAX {
            let minute = i64::try_from(2 * number).unwrap();
            events.pack("ann", 0, number, &[event_key("ann", minute * MINUTE, &format!("{minute:02}"))]);
        }
        let mut found = names(&events, &query(&["ann"], order, 3)).await;
        if order == Order::NewestFirst {
            found.reverse();
        }
        assert_eq!(found, (0..60).map(|minute| format!("{minute:02}")).collect::<Vec<String>>());
    }
}

const NOW: i64 = 1_700_000_000_000;

fn ann() -> Whom {
    Whom { project: "dev".into(), id: "ann".into(), moment: at(NOW), days: None }
}

/// A letter of which nobody knows whom it names.
fn unread(millis: i64, id: &str, body: &str) -> Letter {
    let delivery = Delivery {
        message_id: id.into(),
        body: body.into(),
        receive_count: 1,
        sent_at: at(millis),
        receipt_handle: String::new(),
        group: "dev".into(),
        redrive: None,
    };
    Letter::of_message(&delivery, Stage::Decode, Reason::UndecodableMessage, "not a message")
}

/// Ann, who was `was` before, with a device of her own and one that she shares with Bob; and Bob.
fn two_people() -> (Memory, Memory) {
    let (events, letters) = (Memory::default(), Memory::default());
    events.link("ann", Kind::Former, "was");
    events.link("was", Kind::Later, "ann");
    for (user, device) in [("ann", "own"), ("ann", "shared"), ("bob", "shared"), ("was", "old")] {
        events.seen(user, device);
    }
    for (number, id) in (0..).zip(["a", "b", "c"]) {
        events.event("ann", NOW - number, id);
    }
    events.event("was", NOW - 9, "d");
    events.event("ann", NOW + 1, "later");
    for (device, user) in
        [("own", "ann"), ("own", ""), ("old", "was"), ("old", ""), ("shared", "ann"), ("shared", ""), ("shared", "bob")]
    {
        events.event_on(device, NOW - 5, &format!("{device} {user}"), user);
    }
    events.profile("ann", &[("events", "[\"m\"]"), ("traits", "{\"plan\":[\"pro\",5,0]}")]);
    events.profile("bob", &[("events", "[\"m\"]"), ("traits", "{\"plan\":[\"free\",5,0]}")]);
    let linked = letters.letter(&unread(NOW - 50, "linked", "what ann wrote"));
    let link = Key { pk: links::partition("dev", "ann"), sk: format!("{LINK_PREFIX}{}", linked.sk) };
    events.items().insert(link, Attributes::new());
    letters.letter(&unread(NOW - 40, "text", "{\"userId\":\"ann\",\"event\":\"e\"}"));
    letters.letter(&unread(NOW - 30, "both", "{\"userId\":\"ann\",\"event\":"));
    letters.letter(&unread(NOW - 20, "bob", "{\"userId\":\"bob\",\"event\":\"e\"}"));
    (events, letters)
}

async fn erased(tables: Tables<'_, Memory>, dry_run: bool, is_stopped: &dyn Fn() -> bool) -> Erased {
    erase(tables, &ann(), dry_run, is_stopped, &|_| {}).await.unwrap()
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_tells_what_the_erasure_then_does() {
    let (events, letters) = two_people();
    let tables = Tables { events: &events, letters: &letters };
    let before = (events.items().clone(), letters.items().clone());
    let tried = erased(tables, true, &|| false).await;
    assert_eq!((events.items().clone(), letters.items().clone()), before);
    let done = erased(tables, false, &|| false).await;
    assert_eq!(tried, Erased { dry_run: true, ..done.clone() });
    assert_eq!((done.ids, done.devices, done.shared_devices, done.events), (2, 3, 1, 9));
    assert_eq!((done.profiles, done.letters, done.letters_by_text, done.letters_left()), (1, 1, 1, 1));
    let left: Vec<&str> = done.left.iter().map(|left| left.what).collect();
    assert_eq!(left, ["shared_devices", "letter", "on_its_way", "backups"]);
    assert!(done.left[1].name.as_ref().is_some_and(|name| name.ends_with("#m:both")), "{:?}", done.left);
    let left = events.items().clone();
    let left = left.iter().filter_map(|(key, item)| StoredEvent::read(key, item)).map(|event| event.id);
    assert_eq!(left.collect::<BTreeSet<String>>(), ["later", "shared ", "shared bob"].map(str::to_owned).into());
    let again = erased(tables, false, &|| false).await;
    assert_eq!((again.events, again.profiles, again.letters, again.letters_by_text), (0, 0, 0, 0));
}

#[tokio::test]
async fn an_erasure_that_is_stopped_says_so_and_comes_to_its_end_when_it_is_repeated() {
    let (events, letters) = two_people();
    let tables = Tables { events: &events, letters: &letters };
    let whole = erased(tables, true, &|| false).await;
    let (mut runs, mut events_erased) = (0, 0);
    loop {
        // Each has time for one page more than the one before.
        let pages = Cell::new(0);
        let is_stopped = || pages.replace(pages.get() + 1) >= runs;
        let once = erased(tables, false, &is_stopped).await;
        events_erased += once.events;
        runs += 1;
        if !once.paused {
            break;
        }
        assert!(runs < 100, "it comes to no end");
    }
    assert!(runs > 1);
    assert_eq!(events_erased, whole.events);
    let again = erased(tables, true, &|| false).await;
    assert_eq!((again.events, again.profiles, again.letters_by_text), (0, 0, 0));
}

#[tokio::test]
async fn nobody_is_erased_without_an_id_or_a_project() {
    let (events, letters) = two_people();
    let tables = Tables { events: &events, letters: &letters };
    let before = events.items().clone();
    let try_it = async |whom: Whom| erase(tables, &whom, false, &|| false, &|_| {}).await.unwrap_err();
    for id in [String::new(), "x".repeat(481)] {
        assert!(matches!(try_it(Whom { id, ..ann() }).await, erase::Error::NoId));
    }
    let error = try_it(Whom { project: "KEY".into(), ..ann() }).await;
    assert!(matches!(error, erase::Error::Unread(Error::NoProject { .. })));
    assert_eq!(*events.items(), before);
}
