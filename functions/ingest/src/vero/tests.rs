//! Vero's bodies, case by case.

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
        (VeroCall::EventsTrack, json!({"identity": {"id": 1}, "event_name": "e", "data": []}), "data is not an object"),
        (VeroCall::UsersTrack, json!({"id": true}), "id is neither a string nor a number"),
        (VeroCall::UsersTrack, json!({"id": long}), "id has more than 254 characters"),
        (VeroCall::UsersTrack, json!({"email": "nobody"}), "email is not an e-mail address"),
        (VeroCall::UsersTrack, json!({"email": "a b@c"}), "email is not an e-mail address"),
        (VeroCall::UsersTrack, json!({"id": 1, "email": 5}), "email is not a string"),
        (VeroCall::UsersTrack, json!({"id": 1, "data": "x"}), "data is not an object"),
        (VeroCall::UsersTrack, json!({}), "id or email is needed"),
    ] {
        let problem = parse(call, &body.to_string(), &arrival()).map(|_| ()).unwrap_err();
        assert_eq!(problem, Problem::BadParameter(message.to_owned()), "{body}");
    }
    assert!(matches!(parse(VeroCall::UsersTrack, "[]", &arrival()), Err(Problem::Malformed(_))));
}
