//! Vero's bodies, case by case.

use proptest::prelude::*;
use serde_json::{Value, json};
use shared::clock::Timestamp;

use super::*;

fn arrival() -> Arrival<'static> {
    Arrival { received_at: Timestamp::from_millis(1_700_000_000_000).unwrap(), receipt: "r1", event_bytes_max: 10_000 }
}

fn event_of(call: VeroCall, body: &Value) -> Event {
    parse(call, &body.to_string(), &arrival()).unwrap().events.into_iter().next().unwrap()
}

fn value(raw: Option<&RawValue>) -> Value {
    raw.map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap())
}

#[test]
fn a_whole_event_keeps_everything_it_carries() {
    let body = json!({
        "auth_token": "secret", "identity": {"id": 1000, "email": "a@example.com", "age": 30},
        "event_name": "Viewed Product", "data": {"sku": "x"}, "extras": {"created_at": 1_699_999_000, "source": "segment"},
        "development_mode": false,
    });
    let parsed = parse(VeroCall::EventsTrack, &body.to_string(), &arrival()).unwrap();
    assert_eq!(parsed.write_key.as_deref(), Some("secret"));
    let event = &parsed.events[0];
    assert_eq!(
        (event.kind, event.subject.as_str(), event.name.as_deref()),
        (Kind::Track, "1000", Some("Viewed Product"))
    );
    assert_eq!(value(event.data.as_deref()), json!({"sku": "x"}));
    assert_eq!(
        value(event.extra.as_deref()),
        json!({
            "identity": {"id": 1000, "email": "a@example.com", "age": 30},
            "extras": {"created_at": 1_699_999_000, "source": "segment"}, "development_mode": false,
        })
    );
    assert_eq!(event.client_time.unwrap().as_millis(), 1_699_999_000_000);
    assert_eq!(event.timestamp.as_millis(), 1_699_999_000_000);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let parsed = parse(VeroCall::UsersTrack, &"{".repeat(10_001), &arrival()).map(|_| ());
    assert_eq!(parsed, Err(Problem::EventTooLarge { index: 0, limit: 10_000 }));
}

#[test]
fn a_user_gets_what_stands_beside_the_data_as_traits_too() {
    let event = event_of(
        VeroCall::UsersTrack,
        &json!({
            "tracking_api_key": "k", "id": "u", "email": "a@example.com", "phone_number": null,
            "channels": {"type": "push"}, "data": {"email": "old@example.com", "plan": "pro"},
        }),
    );
    assert_eq!((event.kind, event.subject.as_str(), event.name), (Kind::Identify, "u", None));
    assert_eq!(
        value(event.data.as_deref()),
        json!({"plan": "pro", "email": "a@example.com", "channels": {"type": "push"}})
    );
    let by_email = event_of(VeroCall::UsersTrack, &json!({"email": "a@example.com", "data": null}));
    assert_eq!(by_email.subject, "a@example.com");
}

#[test]
fn identity_is_the_content_for_a_while_and_for_ever_with_something_of_its_own() {
    let event = |extras: Value, data: Value| {
        event_of(
            VeroCall::EventsTrack,
            &json!({"identity": {"id": "u"}, "event_name": "e", "data": data, "extras": extras}),
        )
    };
    let plain = event(json!({}), json!({"a": 1, "b": 2}));
    assert_eq!(
        (plain.identity, &plain.id),
        (Identity::Window, &event(json!({"source": "x"}), json!({"b": 2, "a": 1})).id)
    );
    assert_ne!(plain.id, event(json!({}), json!({"a": 1})).id);

    let created = event(json!({"created_at": 1_699_999_000}), json!({"a": 1}));
    assert_eq!(created.identity, Identity::Forever);
    assert_ne!(created.id, event(json!({"created_at": 1_699_999_001}), json!({"a": 1})).id);
    let checked = event(json!({"check_id": 1_699_999_000_123_456_i64}), json!({"a": 1}));
    assert_eq!((checked.identity, checked.client_time), (Identity::Forever, None));
    // A time that cannot be read still tells the call from others.
    let unreadable = event(json!({"created_at": "yesterday"}), json!({"a": 1}));
    assert_eq!((unreadable.identity, unreadable.client_time), (Identity::Forever, None));
}

#[test]
fn what_is_empty_in_a_form_is_nothing_of_its_own() {
    let extras = json!({"created_at": "", "check_id": ""});
    let event = event_of(VeroCall::UsersTrack, &json!({"id": "u", "extras": extras}));
    assert_eq!(event.identity, Identity::Window);
}

#[test]
fn equal_contents_of_different_calls_are_different_calls() {
    let (user, data) = (json!({"id": "u"}), json!({"a": 1}));
    let ids = [
        event_of(VeroCall::UsersTrack, &json!({"id": "u", "data": data})),
        event_of(VeroCall::UsersEdit, &json!({"id": "u", "changes": data})),
        event_of(VeroCall::UsersUnsubscribe, &user),
        event_of(VeroCall::UsersResubscribe, &user),
        event_of(VeroCall::UsersReidentify, &json!({"id": "a", "new_id": "u"})),
        event_of(VeroCall::UsersReidentify, &json!({"id": "b", "new_id": "u"})),
        event_of(VeroCall::UsersTagsEdit, &json!({"id": "u", "add": ["t"]})),
        event_of(VeroCall::UsersTagsEdit, &json!({"id": "u", "remove": ["t"]})),
    ]
    .map(|event| event.id);
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
}

#[test]
fn every_call_becomes_what_it_says() {
    let email = "a@example.com";
    for (call, body, (kind, subject, target), data, extra) in [
        (
            VeroCall::UsersReidentify,
            json!({"auth_token": "k", "id": 1, "new_id": "2", "development_mode": true}),
            (Kind::Alias, "2", Some("1")),
            Value::Null,
            json!({"development_mode": true}),
        ),
        (
            VeroCall::UsersEdit,
            json!({"id": 1, "email": email, "changes": {"plan": null, "email": "old@example.com"}}),
            (Kind::Identify, "1", None),
            json!({"plan": null, "email": email}),
            Value::Null,
        ),
        (
            VeroCall::UsersEdit,
            json!({"email": email, "changes": {}}),
            (Kind::Identify, email, None),
            json!({"email": email}),
            Value::Null,
        ),
        (
            VeroCall::UsersTagsEdit,
            json!({"id": 1, "add": ["a", 7, ""], "remove": null, "email": email}),
            (Kind::Tags, "1", None),
            json!({"add": ["a", "7"], "remove": []}),
            json!({"email": email}),
        ),
        (
            VeroCall::UsersTagsEdit,
            json!({"email": email, "remove": "b"}),
            (Kind::Tags, email, None),
            json!({"add": [], "remove": ["b"]}),
            Value::Null,
        ),
        (
            VeroCall::UsersUnsubscribe,
            json!({"id": 1, "extras": {"source": "segment"}}),
            (Kind::Unsubscribe, "1", None),
            Value::Null,
            json!({"extras": {"source": "segment"}}),
        ),
        (
            VeroCall::UsersResubscribe,
            json!({"id": null, "email": email, "tracking_api_key": "k"}),
            (Kind::Resubscribe, email, None),
            Value::Null,
            json!({"id": null}),
        ),
        (
            VeroCall::UsersDelete,
            json!({"id": "u", "email": email}),
            (Kind::Delete, "u", None),
            Value::Null,
            json!({"email": email}),
        ),
    ] {
        let event = event_of(call, &body);
        assert_eq!((event.kind, event.subject.as_str(), event.target.as_deref()), (kind, subject, target), "{body}");
        assert_eq!((value(event.data.as_deref()), value(event.extra.as_deref())), (data, extra), "{body}");
    }
}

#[test]
fn two_deletions_are_two_deletions() {
    let body = json!({"id": "u", "extras": {"created_at": 1_699_999_000}});
    let event = event_of(VeroCall::UsersDelete, &body);
    assert_eq!((event.identity, event.id.as_str()), (Identity::Fresh, "r1-0"));
    assert_eq!(event.client_time.unwrap().as_millis(), 1_699_999_000_000);
}

/// Every row of what Segment's Vero destination sends for a call of Segment's.
#[test]
fn what_segment_sends_to_vero_is_taken() {
    let extras = json!({"created_at": 1_699_999_000, "source": "segment"});
    for (call, body, kind, data, identity) in [
        (
            VeroCall::UsersTrack,
            json!({
                "auth_token": "k", "id": "u", "email": "a@example.com",
                "data": {"plan": "pro", "id": "u", "email": "a@example.com", "userAgent": "x"},
            }),
            Kind::Identify,
            json!({"plan": "pro", "id": "u", "email": "a@example.com", "userAgent": "x"}),
            Identity::Window,
        ),
        (
            VeroCall::EventsTrack,
            json!({
                "auth_token": "k", "event_name": "Bought", "data": {"sku": 1},
                "identity": {"id": "u", "email": "a@example.com"}, "extras": extras,
            }),
            Kind::Track,
            json!({"sku": 1}),
            Identity::Forever,
        ),
        (
            VeroCall::UsersUnsubscribe,
            json!({"auth_token": "k", "id": "u", "extras": extras}),
            Kind::Unsubscribe,
            Value::Null,
            Identity::Forever,
        ),
        (
            VeroCall::EventsTrack,
            json!({
                "auth_token": "k", "event_name": "viewed_page", "data": {"url": "https://example.com"},
                "identity": {"id": "u"}, "extras": extras,
            }),
            Kind::Track,
            json!({"url": "https://example.com"}),
            Identity::Forever,
        ),
        (
            VeroCall::UsersEdit,
            json!({"auth_token": "k", "id": "u", "email": "a@example.com", "changes": {"group": {"name": "Acme"}}}),
            Kind::Identify,
            json!({"group": {"name": "Acme"}, "email": "a@example.com"}),
            Identity::Window,
        ),
        (
            VeroCall::UsersReidentify,
            json!({"auth_token": "k", "id": "former", "new_id": "u"}),
            Kind::Alias,
            Value::Null,
            Identity::Window,
        ),
        (
            VeroCall::UsersTagsEdit,
            json!({"auth_token": "k", "id": "u", "add": ["vip"]}),
            Kind::Tags,
            json!({"add": ["vip"], "remove": []}),
            Identity::Window,
        ),
    ] {
        let parsed = parse(call, &body.to_string(), &arrival()).unwrap();
        let event = &parsed.events[0];
        assert_eq!((parsed.write_key.as_deref(), event.subject.as_str()), (Some("k"), "u"));
        assert_eq!((event.kind, value(event.data.as_deref()), event.identity), (kind, data, identity), "{body}");
        assert_eq!(event.client_time.is_some(), identity == Identity::Forever);
    }
}

#[test]
fn what_breaks_a_rule_is_said() {
    let long = "x".repeat(VERO_ID_CHARS_MAX + 1);
    for (call, body, message) in [
        (VeroCall::EventsTrack, json!({"event_name": "e"}), "identity is missing"),
        (VeroCall::EventsTrack, json!({"event_name": "e", "identity": "u"}), "identity is not an object"),
        (VeroCall::EventsTrack, json!({"event_name": "e", "identity": {}}), "id or email is needed"),
        (VeroCall::EventsTrack, json!({"event_name": "e", "identity": {"id": null}}), "id or email is needed"),
        (VeroCall::EventsTrack, json!({"identity": {"id": 1}}), "event_name is missing"),
        (VeroCall::EventsTrack, json!({"identity": {"id": 1}, "event_name": ""}), "event_name is empty"),
        (VeroCall::EventsTrack, json!({"identity": {"id": 1}, "event_name": 7}), "event_name is not a string"),
        (
            VeroCall::EventsTrack,
            json!({"identity": {"id": 1}, "event_name": long}),
            "event_name has more than 254 characters",
        ),
        (
            VeroCall::EventsTrack,
            json!({"identity": {"id": 1}, "event_name": "e", "data": [1]}),
            "data is not an object",
        ),
        (VeroCall::UsersTrack, json!({"id": true}), "id is neither a string nor a number"),
        (VeroCall::UsersTrack, json!({"id": long}), "id has more than 254 characters"),
        (VeroCall::UsersTrack, json!({"email": "nobody"}), "email is not an e-mail address"),
        (VeroCall::UsersTrack, json!({"email": "a b@c"}), "email is not an e-mail address"),
        (VeroCall::UsersTrack, json!({"id": 1, "email": 5}), "email is not a string"),
        (VeroCall::UsersTrack, json!({"id": 1, "data": "x"}), "data is not an object"),
        (VeroCall::UsersTrack, json!({}), "id or email is needed"),
        (VeroCall::UsersReidentify, json!({"new_id": 1}), "id is missing"),
        (VeroCall::UsersReidentify, json!({"id": 1}), "new_id is missing"),
        (VeroCall::UsersReidentify, json!({"id": 1, "new_id": ""}), "new_id is missing"),
        (VeroCall::UsersReidentify, json!({"id": [], "new_id": 1}), "id is neither a string nor a number"),
        (VeroCall::UsersReidentify, json!({"id": 1, "new_id": long}), "new_id has more than 254 characters"),
        (VeroCall::UsersEdit, json!({"id": 1}), "changes is missing"),
        (VeroCall::UsersEdit, json!({"id": 1, "changes": null}), "changes is missing"),
        (VeroCall::UsersEdit, json!({"id": 1, "changes": [1]}), "changes is not an object"),
        (VeroCall::UsersEdit, json!({"changes": {}}), "id or email is needed"),
        (VeroCall::UsersTagsEdit, json!({"id": 1}), "add or remove is needed"),
        (VeroCall::UsersTagsEdit, json!({"id": 1, "add": null, "remove": null}), "add or remove is needed"),
        (VeroCall::UsersTagsEdit, json!({"add": ["a"]}), "id or email is needed"),
        (VeroCall::UsersTagsEdit, json!({"id": 1, "add": {}}), "add is not a list of strings"),
        (VeroCall::UsersTagsEdit, json!({"id": 1, "add": true}), "add is not a list of strings"),
        (VeroCall::UsersTagsEdit, json!({"id": 1, "remove": [["a"]]}), "remove is not a list of strings"),
        (VeroCall::UsersTagsEdit, json!({"id": 1, "remove": [null]}), "remove is not a list of strings"),
        (VeroCall::UsersUnsubscribe, json!({}), "id or email is needed"),
        (VeroCall::UsersResubscribe, json!({"email": "x"}), "email is not an e-mail address"),
        (VeroCall::UsersDelete, json!({"id": {}}), "id is neither a string nor a number"),
    ] {
        let problem = parse(call, &body.to_string(), &arrival()).map(|_| ()).unwrap_err();
        assert_eq!(problem, Problem::BadParameter(message.to_owned()), "{body}");
    }
    assert!(matches!(parse(VeroCall::UsersTrack, "[]", &arrival()), Err(Problem::Malformed(_))));
}

proptest! {
    #[test]
    fn any_parameters_get_an_answer(
        members in prop::collection::vec(
            ("id|email|new_id|identity|event_name|data|changes|extras|add|remove|created_at", "[1-9][0-9]{0,2}|null|true|\"\"|\"a@b\"|\\[\"x\",1\\]|\\{\"id\":1,\"created_at\":\"\"\\}|\"\\\\ud800\""),
            0..6,
        ),
    ) {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let text = format!("{{{}}}", members.join(","));
        for call in [
            VeroCall::EventsTrack, VeroCall::UsersTrack, VeroCall::UsersReidentify, VeroCall::UsersEdit,
            VeroCall::UsersTagsEdit, VeroCall::UsersUnsubscribe, VeroCall::UsersResubscribe, VeroCall::UsersDelete,
        ] {
            let read = parse(call, &text, &arrival());
            prop_assert!(matches!(read, Ok(_) | Err(Problem::BadParameter(_))), "{} {:?}", text, read);
        }
    }
}

#[test]
fn an_address_is_a_home_where_nobody_else_is_named_and_the_users_where_somebody_is() {
    let event = |call, body: &Value| event_of(call, body);
    let alone = event(VeroCall::EventsTrack, &json!({"identity": {"email": "a@x.io"}, "event_name": "e"}));
    assert_eq!((alone.home(), alone.is_anonymous(), alone.address.as_deref()), ("a@x.io", true, None));
    let both = json!({"identity": {"id": 77, "email": "a@x.io"}, "event_name": "e"});
    let trait_alone = json!({"id": 77, "data": {"email": "a@x.io"}});
    for (call, body) in [(VeroCall::EventsTrack, both), (VeroCall::UsersTrack, trait_alone)] {
        let event = event(call, &body);
        assert_eq!((event.home(), event.device.as_deref(), event.address.as_deref()), ("77", None, Some("a@x.io")));
        assert_eq!(event.other_homes().collect::<Vec<_>>(), ["a@x.io"]);
    }
    let deletion = event(VeroCall::UsersDelete, &json!({"id": 77, "email": "a@x.io"}));
    assert_eq!((deletion.subject.as_str(), deletion.other_homes().count()), ("77", 0));
    let of_address = event(VeroCall::UsersDelete, &json!({"email": "a@x.io"}));
    assert_eq!((of_address.subject.as_str(), of_address.is_anonymous()), ("a@x.io", false));
}
