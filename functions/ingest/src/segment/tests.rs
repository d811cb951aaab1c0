//! Segment's bodies, case by case.

use proptest::prelude::*;
use serde_json::{Value, json};

use shared::clock::Timestamp;
use shared::limits::BATCH_EVENTS_MAX;

use shared::limits::SUBJECT_CHARS_MAX;

use super::*;

const RECEIVED: i64 = 1_700_000_000_000;

fn arrival() -> Arrival<'static> {
    Arrival { received_at: Timestamp::from_millis(RECEIVED).unwrap(), receipt: "r1", event_bytes_max: 10_000 }
}

fn one(kind: Kind, body: &Value) -> Parsed {
    parse(SegmentCall::Single(kind), &body.to_string(), &arrival()).unwrap()
}

fn event_of(kind: Kind, body: &Value) -> Event {
    let parsed = one(kind, body);
    assert!(parsed.refused.is_empty(), "{:?}", parsed.refused);
    parsed.events.into_iter().next().unwrap()
}

fn reason_of(kind: Kind, body: &Value) -> String {
    let parsed = one(kind, body);
    assert!(parsed.events.is_empty());
    assert_eq!(parsed.refused[0].body.get(), body.to_string(), "the item is kept as it came");
    parsed.refused[0].reason.clone()
}

fn value(raw: Option<&RawValue>) -> Value {
    raw.map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap())
}

#[test]
fn what_a_library_fills_in_between_two_tries_makes_no_other_event() {
    let call = |user: Value, id: Option<&str>| {
        let mut call = json!({
            "anonymousId": "a1", "userId": user, "event": "e", "timestamp": "2023-11-14T22:00:00.000Z",
            "properties": {"n": 1},
        });
        call.as_object_mut().unwrap().extend(id.map(|id| ("messageId".to_owned(), json!(id))));
        event_of(Kind::Track, &call)
    };
    for id in [Some("m1"), None] {
        let first = call(Value::Null, id);
        assert!(first.is_anonymous() && first.subject == "a1");
        for user in ["ann", "bob"] {
            let again = call(json!(user), id);
            assert_eq!((again.home(), &again.id, again.client_time), (first.home(), &first.id, first.client_time));
            assert_eq!((again.subject.as_str(), again.is_anonymous()), (user, false));
        }
    }
}

#[test]
fn an_anonymous_id_that_says_nothing_is_no_device() {
    for none in
        [json!("undefined"), json!(" NULL "), json!("00000000-0000-0000-0000-000000000000"), json!(0), json!({})]
    {
        let event = event_of(Kind::Track, &json!({"userId": "ann", "anonymousId": none, "event": "e"}));
        assert_eq!((event.home(), event.device.as_ref()), ("ann", None), "{none}");
    }
    assert_eq!(reason_of(Kind::Track, &json!({"anonymousId": "undefined", "event": "e"})), "no_user_anon_id");
    assert_eq!(reason_of(Kind::Track, &json!({"anonymousId": {}, "event": "e"})), "id_not_string");
    let event = event_of(Kind::Track, &json!({"anonymousId": "undefined7", "event": "e"}));
    assert_eq!(event.home(), "undefined7");
}

#[test]
fn an_identify_call_gives_its_user_an_address() {
    let address = |traits: Value| event_of(Kind::Identify, &json!({"userId": "ann", "traits": traits})).address;
    assert_eq!(address(json!({"email": "ann@example.com", "plan": "pro"})).as_deref(), Some("ann@example.com"));
    let anonymous = json!({"anonymousId": "a1", "traits": {"email": "ann@example.com"}});
    assert_eq!(event_of(Kind::Identify, &anonymous).address, None);
    for traits in [json!({}), json!({"email": ""}), json!({"email": "ann"}), json!({"email": 7})] {
        assert_eq!(address(traits), None);
    }
}

#[test]
fn a_whole_track_call_keeps_everything_it_carries() {
    let event = event_of(
        Kind::Track,
        &json!({
            "userId": "u1", "anonymousId": "a1", "event": "Signed Up", "properties": {"plan": "pro"},
            "context": {"ip": "1.2.3.4"}, "integrations": {"All": true}, "messageId": "m1", "writeKey": "secret",
            "timestamp": "2023-11-14T22:00:00.000Z", "sentAt": "2023-11-14T22:00:20.000Z", "_metadata": {"x": 1},
        }),
    );
    assert_eq!((event.kind, event.subject.as_str(), event.name.as_deref()), (Kind::Track, "u1", Some("Signed Up")));
    assert_eq!((event.id.as_str(), event.identity), ("m1", Identity::Forever));
    assert_eq!(value(event.data.as_deref()), json!({"plan": "pro"}));
    assert_eq!(value(event.context.as_deref()), json!({"ip": "1.2.3.4"}));
    // The write key is a credential, and everything else is somebody's.
    assert_eq!(value(event.extra.as_deref()), json!({"integrations": {"All": true}, "_metadata": {"x": 1}}));
    assert_eq!((event.home(), event.device.as_deref(), event.is_anonymous()), ("a1", Some("a1"), false));
    assert_eq!(event.client_time.unwrap().to_string(), "2023-11-14T22:00:00.000Z");
    assert_eq!(event.sent_at.unwrap().to_string(), "2023-11-14T22:00:20.000Z");
    assert_eq!(event.timestamp.as_millis(), RECEIVED - 20_000);
}

#[test]
fn ids_may_be_strings_or_numbers_and_the_user_goes_before_the_anonymous() {
    for (ids, subject) in [
        (json!({"userId": "u", "anonymousId": "a"}), "u"),
        (json!({"userId": null, "anonymousId": "a"}), "a"),
        (json!({"userId": "", "anonymousId": "a"}), "a"),
        (json!({"userId": 42}), "42"),
        (json!({"userId": -1.5}), "-1.5"),
        (json!({"userId": "ü".repeat(SUBJECT_CHARS_MAX)}), &*"ü".repeat(SUBJECT_CHARS_MAX)),
    ] {
        assert_eq!(event_of(Kind::Identify, &ids).subject, subject);
    }
    // Numbers beyond any machine type keep their digits.
    let huge = r#"{"userId":123456789012345678901234567890}"#;
    let parsed = parse(SegmentCall::Single(Kind::Identify), huge, &arrival()).unwrap();
    assert_eq!(parsed.events[0].subject, "123456789012345678901234567890");
}

#[test]
fn what_breaks_a_rule_is_refused_with_segments_own_code() {
    for (kind, body, reason) in [
        (Kind::Track, json!({"event": "e"}), "no_user_anon_id"),
        (Kind::Track, json!({"userId": null, "anonymousId": "", "event": "e"}), "no_user_anon_id"),
        (Kind::Track, json!({"userId": {"a": 1}, "event": "e"}), "id_not_string"),
        (Kind::Track, json!({"userId": true, "event": "e"}), "id_not_string"),
        (Kind::Track, json!({"userId": "u", "messageId": ["m"], "event": "e"}), "id_not_string"),
        (Kind::Track, json!({"userId": "x".repeat(SUBJECT_CHARS_MAX + 1), "event": "e"}), "id_too_long"),
        (Kind::Track, json!({"userId": "u"}), "event_not_defined"),
        (Kind::Track, json!({"userId": "u", "event": null}), "event_not_defined"),
        (Kind::Track, json!({"userId": "u", "event": ""}), "event_not_defined"),
        (Kind::Track, json!({"userId": "u", "event": 5}), "event_not_string"),
        (Kind::Track, json!({"userId": "u", "event": "e", "properties": [1]}), "properties_not_object"),
        (Kind::Track, json!({"userId": "u", "event": "e", "properties": "p"}), "properties_not_object"),
        (Kind::Track, json!({"userId": "u", "event": "e", "context": [1]}), "bad_request"),
        (Kind::Identify, json!({"userId": "u", "traits": 1}), "traits_not_object"),
        (Kind::Page, json!({"userId": "u", "name": 1}), "name_not_string"),
        (Kind::Screen, json!({"userId": "u", "category": 1}), "category_not_string"),
        (Kind::Group, json!({"userId": "u"}), "id_required"),
        (Kind::Group, json!({"userId": "u", "groupId": []}), "id_not_string"),
        (Kind::Group, json!({"userId": "u", "groupId": "x".repeat(SUBJECT_CHARS_MAX + 1)}), "id_too_long"),
        (Kind::Alias, json!({"userId": "u", "previousId": "x".repeat(SUBJECT_CHARS_MAX + 1)}), "id_too_long"),
        (Kind::Alias, json!({"userId": "u"}), "id_required"),
        (Kind::Alias, json!({"previousId": "p"}), "no_user_anon_id"),
    ] {
        assert_eq!(reason_of(kind, &body), reason, "{body}");
    }
}

#[test]
fn every_kind_is_taken_with_what_it_needs() {
    for (kind, body) in [
        (Kind::Track, json!({"userId": "u", "event": "e", "properties": null})),
        (Kind::Identify, json!({"anonymousId": "a", "traits": {"x": 1}})),
        (Kind::Page, json!({"userId": "u"})),
        (Kind::Page, json!({"userId": "u", "name": "Home", "category": "Docs", "properties": {}})),
        (Kind::Screen, json!({"userId": "u", "name": "Main"})),
        (Kind::Group, json!({"userId": "u", "groupId": 7, "traits": {}})),
        (Kind::Alias, json!({"userId": "u", "previousId": "p"})),
    ] {
        assert_eq!(event_of(kind, &body).kind, kind);
    }
    let event = event_of(Kind::Alias, &json!({"userId": "u", "previousId": "p"}));
    assert_eq!((event.subject.as_str(), event.target.as_deref()), ("u", Some("p")));
    assert!(event.extra.is_none(), "an id is not kept twice");
    let event = event_of(Kind::Group, &json!({"userId": "u", "groupId": 7, "previousId": "p"}));
    assert_eq!((event.target.as_deref(), value(event.extra.as_deref())), (Some("7"), json!({"previousId": "p"})));
}

#[test]
fn identity_is_the_message_id_else_content_and_time_else_none() {
    let call = |extra: Value| {
        let mut body = json!({"userId": "u", "event": "e", "properties": {"a": 1, "b": 2}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        event_of(Kind::Track, &body)
    };
    assert_eq!(call(json!({"messageId": "m"})).id, "m");
    assert_eq!(call(json!({"messageId": 5})).id, "5");
    let long = call(json!({"messageId": "m".repeat(401)}));
    assert_eq!((long.id.len(), long.identity), (22, Identity::Forever));

    let timed = call(json!({"timestamp": "2023-11-14T22:00:00Z"}));
    let reordered = event_of(
        Kind::Track,
        &json!({"timestamp": "2023-11-14T22:00:00.000+00:00", "event": "e", "userId": "u", "properties": {"b": 2, "a": 1}}),
    );
    assert_eq!((timed.identity, &timed.id), (Identity::Forever, &reordered.id));
    for other in [
        call(json!({"timestamp": "2023-11-14T22:00:01Z"})),
        call(json!({"timestamp": "2023-11-14T22:00:00Z", "event": "f"})),
        call(json!({"timestamp": "2023-11-14T22:00:00Z", "userId": "v"})),
        call(json!({"timestamp": "2023-11-14T22:00:00Z", "properties": {"a": 1}})),
    ] {
        assert_ne!(timed.id, other.id);
    }

    let fresh = call(json!({"timestamp": "no time"}));
    assert_eq!((fresh.identity, fresh.id.as_str(), fresh.client_time), (Identity::Fresh, "r1-0", None));
}

#[test]
fn a_batch_gives_its_items_what_it_says_once() {
    let text = json!({
        "writeKey": "k", "sentAt": "2023-11-14T22:13:20.000Z", "context": {"library": {"name": "x"}, "ip": "0"},
        "integrations": {"All": false}, "timestamp": "2001-01-01T00:00:00Z", "messageId": "of the batch", "sequence": 1,
        "batch": [
            {"type": "track", "userId": "u", "event": "e", "context": {"ip": "1"}},
            {"type": "identify", "userId": "u", "integrations": {"All": true}, "sentAt": "2023-11-14T22:13:00.000Z"},
        ],
    });
    let parsed = parse(SegmentCall::Batch, &text.to_string(), &arrival()).unwrap();
    let [first, second] = parsed.events.as_slice() else { panic!() };
    assert_eq!(parsed.write_key.as_deref(), Some("k"));
    assert_eq!(value(first.context.as_deref()), json!({"library": {"name": "x"}, "ip": "1"}));
    assert_eq!(value(second.context.as_deref()), json!({"library": {"name": "x"}, "ip": "0"}));
    assert_eq!(value(first.extra.as_deref()), json!({"integrations": {"All": false}}));
    assert_eq!(value(second.extra.as_deref()), json!({"integrations": {"All": true}}));
    // Other members of the batch are about the batch only.
    assert!(first.client_time.is_none() && first.id == "r1-0" && second.id == "r1-1");
    assert_eq!(first.sent_at.unwrap().to_string(), "2023-11-14T22:13:20.000Z");
    assert_eq!(second.sent_at.unwrap().to_string(), "2023-11-14T22:13:00.000Z");
}

#[test]
fn the_bad_items_of_a_batch_do_not_spoil_the_good() {
    let text = json!({"batch": [
        {"type": "track", "userId": "u", "event": "good 0"},
        {"type": "track", "userId": "u"},
        "not an object",
        {"type": "merge", "userId": "u"},
        {"userId": "u", "event": "no type"},
        {"type": "track", "userId": "u", "event": "x".repeat(10_000)},
        {"type": "track", "userId": "u", "event": "good 6", "writeKey": "from the item"},
        null,
        {"type": "delete", "userId": "u"},
    ]});
    let parsed = parse(SegmentCall::Batch, &text.to_string(), &arrival()).unwrap();
    let good: Vec<u32> = parsed.events.iter().map(|event| event.index).collect();
    let bad: Vec<(u32, &str)> = parsed.refused.iter().map(|item| (item.index, item.reason.as_str())).collect();
    assert_eq!(good, [0, 6]);
    assert_eq!(
        bad,
        [
            (1, "event_not_defined"),
            (2, "bad_request"),
            (3, "unsupported_event_type"),
            (4, "unsupported_event_type"),
            (5, "event_too_large"),
            (7, "bad_request"),
            (8, "unsupported_event_type"),
        ]
    );
    assert_eq!(parsed.write_key.as_deref(), Some("from the item"));
}

#[test]
fn the_key_of_a_batch_goes_before_those_of_its_items_and_a_refused_item_has_one_too() {
    let key = |batch: Value| parse(SegmentCall::Batch, &batch.to_string(), &arrival()).unwrap().write_key;
    let items = json!([{"writeKey": ""}, {"type": "nonsense", "writeKey": "first"}, {"writeKey": "second"}]);
    assert_eq!(key(json!({"batch": items})).as_deref(), Some("first"));
    assert_eq!(key(json!({"batch": items, "writeKey": ""})).as_deref(), Some("first"));
    assert_eq!(key(json!({"batch": items, "writeKey": "batch"})).as_deref(), Some("batch"));
    assert_eq!(key(json!({"batch": [{}]})), None);
}

#[test]
fn what_is_wrong_with_the_whole_request_is_said() {
    let batch = |text: &str| parse(SegmentCall::Batch, text, &arrival()).map(|_| ());
    assert_eq!(batch(r#"{"batch":[]}"#), Err(Problem::EmptyBatch));
    assert_eq!(batch("{}"), Err(Problem::Malformed("no batch in it".into())));
    assert_eq!(batch(r#"{"batch":null}"#), Err(Problem::Malformed("no batch in it".into())));
    assert_eq!(batch(r#"{"batch":{}}"#), Err(Problem::Malformed("the batch is not an array".into())));
    assert_eq!(batch(r#"{"batch":[],"batch":7}"#), Err(Problem::Malformed("the batch is not an array".into())));
    assert_eq!(batch(r#"{"batch":7,"batch":[]}"#), Err(Problem::EmptyBatch));
    assert_eq!(batch("[]"), Err(Problem::Malformed("not a JSON object (line 1, column 0)".into())));
    assert_eq!(batch("{\"batch\":[1,]}"), Err(Problem::Malformed("malformed JSON (line 1, column 13)".into())));
    assert_eq!(batch("{} {}"), Err(Problem::Malformed("malformed JSON (line 1, column 4)".into())));
    assert_eq!(batch("{\"a\":\"\0\"}"), Err(Problem::Malformed("malformed JSON (line 1, column 6)".into())));
    let items = vec!["0"; BATCH_EVENTS_MAX + 1].join(",");
    assert_eq!(batch(&format!("{{\"batch\":[{items}]}}")), Err(Problem::BatchTooLong { items: BATCH_EVENTS_MAX + 1 }));

    let large = json!({"userId": "u", "event": "x".repeat(10_000)}).to_string();
    let single = parse(SegmentCall::Single(Kind::Track), &large, &arrival()).map(|_| ());
    assert_eq!(single, Err(Problem::EventTooLarge { index: 0, limit: 10_000 }));
    // By its size alone: it is not read.
    let unread = parse(SegmentCall::Single(Kind::Track), &"{".repeat(10_001), &arrival()).map(|_| ());
    assert_eq!(unread, Err(Problem::EventTooLarge { index: 0, limit: 10_000 }));
    // An item that is too large even to be kept as refused refuses the request.
    let huge = json!({"batch": [{"type": "track"}, "x".repeat(shared::limits::REFUSED_BYTES_MAX)]}).to_string();
    assert_eq!(batch(&huge), Err(Problem::EventTooLarge { index: 1, limit: 10_000 }));
}

#[test]
fn of_two_members_with_one_name_the_last_counts() {
    let text = r#"{"userId":"a","userId":"b","event":"x","event":"y"}"#;
    let parsed = parse(SegmentCall::Single(Kind::Track), text, &arrival()).unwrap();
    assert_eq!((parsed.events[0].subject.as_str(), parsed.events[0].name.as_deref()), ("b", Some("y")));
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,60}|[\\[\\]{}\",:0-9a-z\\\\]{0,60}") {
        for call in [SegmentCall::Batch, SegmentCall::Single(Kind::Track)] {
            let _ = parse(call, &text, &arrival());
        }
    }

    #[test]
    fn every_item_of_a_batch_is_either_an_event_or_refused(
        items in prop::collection::vec(
            prop_oneof![
                Just(json!({"type": "track", "userId": "u", "event": "e"})),
                Just(json!({"type": "track", "userId": 5, "event": ""})),
                Just(json!({"type": "group", "anonymousId": "a", "groupId": "g"})),
                Just(json!([])), Just(json!(null)), Just(json!({})), Just(json!("\u{0}\u{ffff}")),
            ],
            1..40,
        ),
    ) {
        let parsed = parse(SegmentCall::Batch, &json!({"batch": items}).to_string(), &arrival()).unwrap();
        let mut indexes: Vec<u32> = parsed.events.iter().map(|event| event.index).collect();
        indexes.extend(parsed.refused.iter().map(|item| item.index));
        indexes.sort_unstable();
        prop_assert_eq!(indexes, (0..u32::try_from(items.len()).unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn a_refused_item_keeps_what_it_says_and_what_its_batch_says_and_can_be_read_again() {
    let item = json!({
        "type": "track", "userId": "u", "event": "", "messageId": "m", "context": {"own": 1, "both": "item"},
        "timestamp": "2023-11-14T22:00:00.000Z",
    });
    for (shared, context) in [
        (json!({}), json!({"own": 1, "both": "item"})),
        (json!({"context": {"both": "batch", "ip": "x"}}), json!({"own": 1, "both": "item", "ip": "x"})),
    ] {
        let mut batch = json!({"batch": [item], "sentAt": "2023-11-14T22:00:01.000Z", "integrations": {"all": true}});
        batch.as_object_mut().unwrap().extend(shared.as_object().unwrap().clone());
        let parsed = parse(SegmentCall::Batch, &batch.to_string(), &arrival()).unwrap();
        let refused = &parsed.refused[0];
        let body: Value = serde_json::from_str(refused.body.get()).unwrap();
        assert_eq!((&body["context"], &body["messageId"]), (&context, &json!("m")));
        assert_eq!((&body["sentAt"], &body["integrations"]), (&batch["sentAt"], &batch["integrations"]));
        assert_eq!(reread(&refused.call, 0, &refused.body, &arrival()).unwrap_err().0, Reason::EventNotDefined);
        let mended = refused.body.get().replace("\"event\":\"\"", "\"event\":\"Mended\"");
        let event = reread(&refused.call, 0, &serde_json::from_str::<Box<RawValue>>(&mended).unwrap(), &arrival());
        let event = event.unwrap();
        let stored: Value = serde_json::from_str(event.context.unwrap().get()).unwrap();
        assert_eq!((event.name.as_deref(), stored), (Some("Mended"), context));
    }
}
