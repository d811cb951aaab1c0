//! What an operator does with keys and finds out of people; and what the program takes for granted of what is deployed.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cli::dead_letters::Tables;
use cli::doctor::{self, FunctionFacts, MAPPINGS, MappingFacts, QUEUES, TABLES, TableFacts};
use cli::keys::{
    Error, Home, Imported, KeyEntry, Made, NewKey, create, find, import, list, parse, projects, random_key, register,
    set_disabled,
};
use cli::people::erase::{Erased, Whom, erase};
use cli::people::{Order, Query, homes, known, page};
use cli::stack::{Endpoints, Stack};
use consume::dynamo_table::DynamoTable;
use ingest::accept::Call;
use local::TEMPLATE;
use local::dynamodb::{Fault, Refusal, Target, Times as Calls};
use local::template::{Settings, Template};
use serde_json::{Value, json};
use shared::clock::{Clock, Timestamp};
use shared::keys::write_key_hash;
use tests::{Pipeline, track};

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).unwrap()
}

async fn new_key(table: &DynamoTable, project: &str, source: &str) -> String {
    let (key, project, source) = (random_key(), project.to_owned(), source.to_owned());
    let new = NewKey { key: key.clone(), project, source, secret: None, home: Home::Device };
    assert_eq!(create(table, &new, now()).await.unwrap(), Made::New);
    key
}

fn call(pipeline: &Pipeline, key: &str, event: &Value) -> Call {
    let authorization = Some(format!("Basic {}", STANDARD.encode(format!("{key}:"))));
    Call { authorization, ..pipeline.segment_call("/v1/track", event) }
}

async fn status(pipeline: &Pipeline, key: &str, id: &str) -> u16 {
    pipeline.call(&call(pipeline, key, &track("ann", id))).await.0
}

#[tokio::test]
async fn a_key_works_from_its_making_until_a_minute_after_it_was_disabled() {
    let pipeline = Pipeline::start().await;
    let (table, keys) = (pipeline.events_table(), pipeline.write_keys());
    let key = new_key(&table, "shop", "web").await;
    let hash = write_key_hash(&key);
    assert_eq!(status(&pipeline, &key, "m1").await, 200);
    set_disabled(&keys, &hash, true).await.unwrap();
    assert_eq!(status(&pipeline, &key, "m2").await, 200, "it is remembered");
    pipeline.pass(Duration::from_secs(60));
    assert_eq!(status(&pipeline, &key, "m3").await, 401);
    set_disabled(&keys, &hash, false).await.unwrap();
    pipeline.pass(Duration::from_secs(5));
    assert_eq!(status(&pipeline, &key, "m4").await, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 3, "what was accepted by a key is stored whatever becomes of the key");
    let nobody = write_key_hash("nobody");
    assert!(matches!(set_disabled(&keys, &nobody, true).await, Err(Error::Missing { .. })));
    assert_eq!(list(&table, None).await.unwrap().len(), 2, "disabling makes no key: dev's and this one");
    pipeline.finish().await;
}

#[tokio::test]
async fn what_comes_with_a_disabled_key_while_nobody_can_check_it_is_an_unknown_write_key() {
    let pipeline = Pipeline::start().await;
    let (table, keys) = (pipeline.events_table(), pipeline.write_keys());
    let key = new_key(&table, "shop", "web").await;
    set_disabled(&keys, &write_key_hash(&key), true).await.unwrap();
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Calls::UntilCleared);
    assert_eq!(status(&pipeline, &key, "m1").await, 200);
    pipeline.dynamodb_faults.clear_all();
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), pipeline.reasons().await), (0, vec!["unknown_write_key".to_owned()]));
    pipeline.finish().await;
}

#[tokio::test]
async fn keys_are_listed_by_the_register_and_found_by_the_beginning_of_their_hashes() {
    let pipeline = Pipeline::start().await;
    let (table, keys) = (pipeline.events_table(), pipeline.write_keys());
    let (web, app) = (new_key(&table, "shop", "web").await, new_key(&table, "shop", "app").await);
    // A project whose name begins like another's is another.
    new_key(&table, "shop-2", "web").await;
    set_disabled(&keys, &write_key_hash(&app), true).await.unwrap();
    let listed = list(&table, Some("shop")).await.unwrap();
    let state = |key: &KeyEntry| (key.source.clone(), key.hash.clone(), key.is_in_use());
    let wanted = [("app".into(), write_key_hash(&app), false), ("web".into(), write_key_hash(&web), true)];
    assert_eq!(listed.iter().map(state).collect::<Vec<_>>(), wanted);
    let all = projects(&list(&table, None).await.unwrap());
    let counts: Vec<_> = all.iter().map(|one| (one.project.as_str(), one.keys_in_use, one.keys)).collect();
    assert_eq!(counts, [("dev", 1, 1), ("shop", 1, 2), ("shop-2", 1, 1)]);

    assert_eq!(find(&table, &write_key_hash(&web)[..8]).await.unwrap(), write_key_hash(&web));
    assert!(matches!(find(&table, "00000000").await, Err(Error::Missing { .. })));
    for text in ["", "0000000", "XYZXYZXYZ"] {
        assert!(matches!(find(&table, text).await, Err(Error::NoId { .. })), "{text}");
    }
    assert!(!register(&table, &write_key_hash(&web)).await.unwrap(), "it is there already");
    assert!(matches!(register(&table, &write_key_hash("nobody")).await, Err(Error::Missing { .. })));
    pipeline.finish().await;
}

#[tokio::test]
async fn keys_of_elsewhere_are_taken_over_once_and_from_nobody_else() {
    let pipeline = Pipeline::start().await;
    let table = pipeline.events_table();
    let lines = parse("vero-1,shop,web\nvero-2,shop,app\n").unwrap();
    for expected in [Imported { new: 2, before: 0 }, Imported { new: 0, before: 2 }] {
        assert_eq!(import(&table, &lines, now(), |_| ()).await.unwrap(), expected);
    }
    assert_eq!(status(&pipeline, "vero-1", "m1").await, 200);
    let other = parse("vero-3,shop,web\nvero-1,other,web\n").unwrap();
    let (line, error) = import(&table, &other, now(), |_| ()).await.unwrap_err();
    assert!(line == 2 && matches!(&error, Error::Exists { project, .. } if project == "shop"), "{line}: {error}");
    assert!(!error.to_string().contains("vero-1"), "no key is told to anybody");
    pipeline.drain().await;
    pipeline.finish().await;
}

#[tokio::test]
async fn a_timeline_follows_aliases_in_either_order() {
    let pipeline = Pipeline::start().await;
    for (user, id, second) in [("anon", "m1", 1), ("ann", "m2", 2), ("anon", "m3", 3)] {
        let mut event = track(user, id);
        event["timestamp"] = json!(format!("2023-11-14T22:00:0{second}Z"));
        pipeline.post("/v1/track", &event).await;
    }
    pipeline.post("/v1/identify", &json!({"userId": "anon", "messageId": "i1", "traits": {"plan": "pro"}})).await;
    let alias = json!({"userId": "ann", "previousId": "anon", "messageId": "a1"});
    pipeline.post("/v1/alias", &alias).await;
    pipeline.drain().await;
    let homes = homes(&pipeline.events_table(), "dev", "ann").await.unwrap();
    let ann = known(&pipeline.events_table(), "dev", "ann", &homes).await.unwrap().unwrap();
    assert_eq!((ann.ids.len(), ann.traits["plan"].get()), (2, "\"pro\""));
    for (order, wanted) in [(Order::OldestFirst, ["m1", "m2", "m3"]), (Order::NewestFirst, ["m3", "m2", "m1"])] {
        let until = Some("2023-11-14T22:00:05Z".parse().unwrap());
        let query = Query { project: "dev".into(), homes: homes.clone(), order, since: None, until, count: 2 };
        let first = page(&pipeline.timelines(), &query, None).await.unwrap();
        let rest = page(&pipeline.timelines(), &query, first.next.as_ref()).await.unwrap();
        let found: Vec<&str> = first.events.iter().chain(&rest.events).map(|event| event.id.as_str()).collect();
        assert_eq!((found.as_slice(), rest.next), (&wanted[..], None));
    }
    pipeline.finish().await;
}

/// Erases Ann of the project `dev` up to now, or says what that would do.
async fn erased(pipeline: &Pipeline, dry_run: bool) -> Erased {
    let (events, letters) = (pipeline.events_table(), pipeline.dead_letters_table());
    let tables = Tables { events: &events, letters: &letters };
    let whom = Whom { project: "dev".into(), id: "ann".into(), moment: pipeline.clock.now(), days: None };
    erase(tables, &whom, dry_run, &|| false, &|_| {}).await.unwrap()
}

/// Everything in the tables of a pipeline, in an order of its own.
async fn everything(pipeline: &Pipeline) -> Vec<String> {
    let (events, letters) = (pipeline.items().await, pipeline.letters().await);
    let text = |item: &tests::Item| format!("{:?}", item.iter().collect::<BTreeMap<_, _>>());
    let mut all: Vec<String> = events.iter().chain(&letters).map(text).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_user_is_erased_with_all_that_a_dry_run_tells_and_others_are_not() {
    let pipeline = Pipeline::start().await;
    let on = |device: &str, user: Option<&str>, id: &str| {
        json!({"anonymousId": device, "userId": user, "event": "Did It", "messageId": id,
            "timestamp": "2023-11-14T22:13:10.000Z"})
    };
    for (device, user, id) in [
        ("phone", None, "p1"),
        ("phone", Some("ann"), "p2"),
        ("kiosk", None, "k1"),
        ("kiosk", Some("ann"), "k2"),
        ("kiosk", Some("bob"), "k3"),
    ] {
        pipeline.post("/v1/track", &on(device, user, id)).await;
    }
    for (user, id) in [("ann", "a1"), ("was", "w1"), ("bob", "b1")] {
        pipeline.post("/v1/track", &track(user, id)).await;
    }
    pipeline.post("/v1/identify", &json!({"userId": "ann", "messageId": "i1", "traits": {"plan": "pro"}})).await;
    pipeline.post("/v1/alias", &json!({"userId": "ann", "previousId": "was", "messageId": "al1"})).await;
    // Letters: one that names her, one that nobody could read, one that cannot be told apart, and one of Bob's.
    pipeline.post("/v1/track", &json!({"userId": "ann", "messageId": "bad"})).await;
    pipeline.enqueue(r#"{"userId": "was", "event": "not ours"}"#).await;
    pipeline.enqueue(r#"{"userId": "ann", "event": "cut o"#).await;
    pipeline.post("/v1/track", &json!({"userId": "bob", "messageId": "bad"})).await;
    pipeline.drain().await;
    let before = everything(&pipeline).await;
    pipeline.pass(Duration::from_secs(60));
    let tried = erased(&pipeline, true).await;
    assert_eq!(everything(&pipeline).await, before, "a dry run changes nothing");
    let done = erased(&pipeline, false).await;
    assert_eq!(tried, Erased { dry_run: true, ..done.clone() });
    assert_eq!((done.ids, done.devices, done.shared_devices), (2, 2, 1));
    // The identify and the alias are events, too.
    assert_eq!((done.events, done.profiles, done.letters, done.letters_by_text), (7, 1, 1, 1));
    let left: Vec<&str> = done.left.iter().map(|left| left.what).collect();
    assert_eq!(left, ["shared_devices", "letter", "on_its_way", "backups"]);
    let mut ids: Vec<String> = pipeline.stored().await.iter().map(id_of).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["b1", "k1", "k3"]);
    let letters = pipeline.letters().await;
    let state = |letter: &tests::Item| letter["state"].as_s().unwrap().clone();
    assert_eq!(letters.iter().filter(|letter| state(letter) == "erased").count(), 2);
    assert_eq!(pipeline.traits("ann").await, Value::Null);
    let again = erased(&pipeline, false).await;
    assert_eq!((again.events, again.profiles, again.letters, again.letters_by_text), (0, 0, 0, 0));
    // What is older and comes later is erased when it comes.
    pipeline.post("/v1/track", &on("tablet", Some("ann"), "late")).await;
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 3);
    pipeline.finish().await;
}

fn id_of(item: &tests::Item) -> String {
    item["sk"].as_s().unwrap().rsplit('#').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_dry_run_counts_once_what_two_ways_lead_to() {
    let pipeline = Pipeline::start().await;
    // As a browser does it: somebody without a name gets one, and the name is told to be theirs.
    pipeline.post("/v1/track", &json!({"anonymousId": "anon", "event": "Did It", "messageId": "m1"})).await;
    pipeline.post("/v1/identify", &json!({"anonymousId": "anon", "userId": "ann", "messageId": "m2"})).await;
    pipeline.post("/v1/alias", &json!({"userId": "ann", "previousId": "anon", "messageId": "m3"})).await;
    pipeline.post("/v1/track", &json!({"userId": "ann", "messageId": "bad"})).await;
    pipeline.drain().await;
    pipeline.pass(Duration::from_secs(60));
    for _ in 0..2 {
        let tried = erased(&pipeline, true).await;
        let done = erased(&pipeline, false).await;
        assert_eq!(tried, Erased { dry_run: true, ..done.clone() });
        pipeline.pass(Duration::from_secs(60));
    }
    pipeline.finish().await;
}

#[tokio::test]
async fn a_source_whose_events_live_with_their_user_stays_so_when_it_is_listed_and_imported() {
    let pipeline = Pipeline::start().await;
    let table = pipeline.events_table();
    let lines = parse("key,project,source,home\nserver-key,shop,server,user\nweb-key,shop,web\n").unwrap();
    import(&table, &lines, now(), |_| ()).await.unwrap();
    let homes: Vec<Home> = list(&table, Some("shop")).await.unwrap().iter().map(|key| key.home).collect();
    assert_eq!(homes, [Home::User, Home::Device]);
    for (key, id) in [("server-key", "m1"), ("web-key", "m2")] {
        let event = json!({"userId": "ann", "anonymousId": "constant", "event": "Did It", "messageId": id});
        assert_eq!(pipeline.call(&call(&pipeline, key, &event)).await.0, 200);
    }
    pipeline.drain().await;
    let mut homes: Vec<String> =
        pipeline.stored().await.iter().map(|item| item["pk"].as_s().unwrap().clone()).collect();
    homes.sort_unstable();
    assert_eq!(homes, ["shop#ann", "shop#constant"]);
    pipeline.finish().await;
}

/// The template, and the names that the program takes for those of the pipeline on this machine.
fn deployed() -> (Template, Stack) {
    let sqs = "http://127.0.0.1:9324";
    let settings = Settings { sqs_endpoint: sqs.to_owned(), ..Settings::default() };
    let template = Template::parse_with(TEMPLATE, &settings).unwrap();
    let endpoints = Endpoints { api: "http://127.0.0.1:3000".into(), sqs: sqs.into(), dynamodb: sqs.into() };
    (template, cli::stack::local(&endpoints))
}

#[test]
fn the_program_finds_what_local_has_by_the_names_of_the_template() {
    let (template, stack) = deployed();
    for (name, logical_id) in [
        (&stack.events_table, "EventsTable"),
        (&stack.dead_letters_table, "DeadLettersTable"),
        (&stack.spill_table, "SpillTable"),
    ] {
        assert_eq!(name, &template.table(logical_id).unwrap().name);
    }
    for (url, logical_id) in
        [(&stack.events_queue_url, "EventsQueue"), (&stack.quarantine_queue_url, "QuarantineQueue")]
    {
        assert_eq!(url, &template.queue(logical_id).unwrap().url);
    }
    for (name, logical_id) in [(&stack.ingest_function, "IngestFunction"), (&stack.consume_function, "ConsumeFunction")]
    {
        assert_eq!(name, &template.function(logical_id).unwrap().name);
    }
}

#[test]
fn the_doctor_expects_what_the_template_deploys() {
    let (template, stack) = deployed();
    let quarantine = &template.queue("QuarantineQueue").unwrap().arn;
    for (expected, logical_id) in QUEUES.iter().zip(["EventsQueue", "QuarantineQueue"]) {
        let attributes = &template.queue(logical_id).unwrap().attributes;
        assert_eq!(doctor::queue(expected, attributes, quarantine), Vec::<String>::new());
    }
    for (expected, logical_id) in TABLES.iter().zip(["EventsTable", "DeadLettersTable", "SpillTable"]) {
        let table = template.table(logical_id).unwrap();
        let sort_key = table.sort_key.iter().map(|key| key.attribute.clone());
        let facts = TableFacts {
            keys: std::iter::once(table.partition_key.attribute.clone()).chain(sort_key).collect(),
            status: "ACTIVE".into(),
            ttl_attribute: table.ttl_attribute.clone(),
            stream_view: table.stream_view_type.clone(),
            stream_arn: table.stream_arn.clone(),
        };
        assert_eq!(doctor::table(expected, &facts), Vec::<String>::new());
    }
    for (logical_id, judge) in [
        ("IngestFunction", doctor::ingest_function as fn(&Stack, &FunctionFacts) -> Vec<String>),
        ("ConsumeFunction", doctor::consume_function),
    ] {
        let function = template.function(logical_id).unwrap();
        let facts = FunctionFacts {
            variables: function.environment.clone(),
            memory_mib: function.memory_mb,
            timeout_secs: u32::try_from(function.timeout.as_secs()).unwrap(),
            state: "Active".into(),
        };
        assert_eq!(judge(&stack, &facts), Vec::<String>::new(), "{logical_id}");
    }
}

#[test]
fn the_doctor_expects_the_sources_that_the_template_gives_consume() {
    let (template, _) = deployed();
    let consume = template.function("ConsumeFunction").unwrap();
    let fact = |source_arn: &str, batch_size, reports_item_failures| MappingFacts {
        source_arn: source_arn.to_owned(),
        state: "Enabled".into(),
        batch_size: Some(batch_size),
        reports_item_failures,
        concurrency_max: None,
    };
    let queues = consume.queue_mappings.iter();
    let queues = queues.map(|one| (&one.name, fact(&one.queue_arn, one.batch_size, one.report_batch_item_failures)));
    let streams = consume.stream_mappings.iter();
    let streams = streams.map(|one| (&one.name, fact(&one.stream_arn, one.batch_size, one.report_batch_item_failures)));
    let (names, facts): (Vec<String>, Vec<MappingFacts>) =
        queues.chain(streams).map(|(name, fact)| (name.to_lowercase(), fact)).unzip();
    assert_eq!(names, MAPPINGS.map(|(name, _)| name));
    let sources: Vec<(&str, &str)> =
        names.iter().zip(&facts).map(|(name, fact)| (name.as_str(), fact.source_arn.as_str())).collect();
    assert_eq!(doctor::mappings(&sources, &facts), Vec::<String>::new());
    assert!(facts.iter().zip(MAPPINGS).all(|(fact, (_, most))| fact.batch_size == Some(most)));
}
