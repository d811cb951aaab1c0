//! Which event an item of a batch is, without accepting it: for producers who ask whether it has arrived.

use serde_json::value::RawValue;
use shared::event::{Event, Identity, Kind};
use shared::json::Members;
use shared::outcome::Reason;

use crate::parsed::{Arrival, Refusal, malformed};
use crate::segment::{self, BATCH};

/// Reads of an item what makes it the event that it is. Of one with a `messageId`, that is this, the device or else
/// the user, and the time: the rest of the call need not be there. Of any other it is the whole call, which must be there as it was sent.
///
/// What is not part of the identity may be missing from the event.
///
/// # Errors
/// Why it could not be stored, and so never was.
pub fn identify(index: u32, item: &RawValue, arrival: &Arrival<'_>) -> Result<Event, Refusal> {
    if !arrival.has_room_for(item.get()) {
        let limit = arrival.event_bytes_max;
        return Err((Reason::EventTooLarge, format!("the event is larger than {limit} bytes")));
    }
    let members = Members::parse(item.get()).map_err(|error| (Reason::BadRequest, malformed(&error)))?;
    let Some(id) = segment::message_id(&members)? else {
        return segment::reread(BATCH, index, item, arrival);
    };
    let client_time = segment::client_time(&members).map(|(time, _, _)| time);
    let segment::Whom { subject, device, .. } = segment::whom(&members)?;
    Ok(Event {
        index,
        id,
        identity: Identity::Forever,
        kind: Kind::Track,
        subject,
        device,
        address: None,
        name: None,
        target: None,
        data: None,
        context: None,
        extra: None,
        client_time,
        sent_at: None,
        timestamp: client_time.unwrap_or(arrival.received_at).min(arrival.received_at),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use shared::clock::Timestamp;

    use super::*;
    use crate::route::SegmentCall;

    fn arrival() -> Arrival<'static> {
        let received_at = Timestamp::from_millis(1_700_000_000_000).unwrap();
        Arrival { received_at, receipt: "r", event_bytes_max: 1_000 }
    }

    fn identified(item: &serde_json::Value) -> Result<Event, Reason> {
        let item: Box<RawValue> = serde_json::from_str(&item.to_string()).unwrap();
        identify(0, &item, &arrival()).map_err(|(reason, _)| reason)
    }

    /// The identity that the same item gets when it is sent.
    fn sent(item: &serde_json::Value) -> Event {
        let batch = json!({"batch": [item]}).to_string();
        segment::parse(SegmentCall::Batch, &batch, &arrival()).unwrap().events.remove(0)
    }

    fn assert_same(short: &serde_json::Value, whole: &serde_json::Value) {
        let (found, sent) = (identified(short).unwrap(), sent(whole));
        let keyed =
            |event: Event| (event.home().to_owned(), event.id, event.identity, event.subject, event.client_time);
        assert_eq!(keyed(found), keyed(sent), "{short}");
    }

    #[test]
    fn an_item_with_an_id_of_its_own_needs_no_more_than_that() {
        for (short, more) in [
            (json!({"userId": "ann", "messageId": "m1", "timestamp": "2023-11-14T22:13:10Z"}), json!({"event": "e"})),
            (json!({"anonymousId": 7, "messageId": "m1"}), json!({"event": "e", "properties": {"a": 1}})),
            (json!({"userId": "ann", "messageId": "x".repeat(500), "timestamp": 1_700_000_000}), json!({"event": "e"})),
        ] {
            let mut whole = short.clone();
            whole["type"] = json!("track");
            whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_same(&short, &whole);
            assert_same(&whole, &whole);
        }
    }

    #[test]
    fn an_item_without_one_is_what_the_whole_call_makes_it() {
        let call = json!({
            "type": "page", "userId": "ann", "name": "Home", "properties": {"b": 1, "a": [1.50]},
            "timestamp": "2023-11-14T22:13:10.123Z",
        });
        assert_same(&call, &call);
        let without_time = json!({"type": "track", "userId": "ann", "event": "e"});
        assert_eq!(identified(&without_time).unwrap().identity, Identity::Fresh);
    }

    #[test]
    fn what_could_not_be_stored_is_no_event() {
        for (item, reason) in [
            (json!(7), Reason::BadRequest),
            (json!({"messageId": "m"}), Reason::NoUserAnonId),
            (json!({"messageId": [], "userId": "u"}), Reason::IdNotString),
            (json!({"messageId": "m", "userId": "u".repeat(481)}), Reason::IdTooLong),
            (json!({"messageId": "m", "userId": "u".repeat(2_000)}), Reason::EventTooLarge),
            (json!({"userId": "u", "timestamp": "2023-11-14"}), Reason::UnsupportedEventType),
            (json!({"type": "track", "userId": "u"}), Reason::EventNotDefined),
        ] {
            assert_eq!(identified(&item).unwrap_err(), reason, "{item}");
        }
    }

    proptest! {
        #[test]
        fn any_call_is_identified_as_it_is_when_it_is_sent(
            id in prop::option::of("[a-z0-9-]{1,40}"),
            time in prop::option::of(0_i64..1_800_000_000_000),
            value in any::<i32>(),
        ) {
            let mut call = json!({"type": "track", "userId": "ann", "event": "e", "properties": {"value": value}});
            if let Some(id) = id {
                call["messageId"] = json!(id);
            }
            if let Some(time) = time {
                call["timestamp"] = json!(time);
            }
            assert_same(&call, &call);
        }
    }
}
