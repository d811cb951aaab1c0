//! What is given out reads back, and whatever else somebody asks with is refused.

use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis_clamped(millis)
}

const RECEIVED: i64 = 1_700_000_000_000;

fn new_key() -> String {
    "0123456789abcdef0123456789abcdef".to_owned()
}

fn envelope() -> Message {
    Message {
        version: MESSAGE_VERSION,
        project: "dev".into(),
        source: "default".into(),
        receipt: "018bcfe568007abcdef0123456789abc".into(),
        received_at: at(RECEIVED),
        code_version: "0.1.0".into(),
        verified: true,
        write_key_hash: None,
        lists_items: false,
        list_key: String::new(),
        events: vec![],
        refused: vec![],
    }
}

fn event(index: u32, subject: &str, id: &str) -> Event {
    Event {
        index,
        id: id.into(),
        identity: Identity::Forever,
        kind: Kind::Track,
        subject: subject.into(),
        device: None,
        address: None,
        name: Some("Signed Up".into()),
        target: None,
        data: Some(serde_json::from_str("{}").unwrap()),
        context: None,
        extra: None,
        client_time: Some(at(RECEIVED - 10_000)),
        sent_at: Some(at(RECEIVED)),
        timestamp: at(RECEIVED - 10_000),
    }
}

fn refused(index: u32) -> Refused {
    Refused {
        index,
        reason: "no_user_anon_id".into(),
        detail: String::new(),
        call: "batch".into(),
        body: serde_json::from_str("{}").unwrap(),
    }
}

/// What keys are made of.
fn keyed(event: &Event) -> impl PartialEq + std::fmt::Debug + use<> {
    let Event { index, id, identity, kind, subject, device, client_time, timestamp, .. } = event.clone();
    (index, id, identity, kind, (subject, device), client_time, timestamp)
}

fn assert_listed(listed: &[Listed], events: &[Event], refused: &[Refused]) {
    let found: Vec<_> = listed.iter().filter_map(|item| item.event.as_ref()).map(keyed).collect();
    assert_eq!(found, events.iter().map(keyed).collect::<Vec<_>>());
    let without: Vec<u32> = listed.iter().filter(|item| item.event.is_none()).map(|item| item.index).collect();
    assert_eq!(without, refused.iter().map(|item| item.index).collect::<Vec<_>>());
    assert!(listed.is_sorted_by_key(|item| item.index));
}

#[test]
fn an_id_says_where_each_event_would_be() {
    let events = [event(0, "ann", "m1"), event(2, "ann", "m2"), event(3, "bob", "m3")];
    let issued = Receipt::issue(&envelope(), &events, &[refused(1)], new_key);
    let receipt = Receipt::read(&issued.id).unwrap();
    assert_eq!((receipt.receipt.as_str(), receipt.items), ("018bcfe568007abcdef0123456789abc", 4));
    assert_eq!((receipt.received_at, issued.list_key), (at(RECEIVED), None));
    assert_listed(receipt.listed.as_ref().unwrap(), &events, &[refused(1)]);
    let again = receipt.envelope("dev");
    assert_eq!((again.receipt, again.received_at), (envelope().receipt, envelope().received_at));
}

#[test]
fn the_id_of_one_event_is_short_enough_for_any_log() {
    let issued =
        Receipt::issue(&envelope(), &[event(0, "user-12345", "018bcfe5-6800-7abc-9def-0123456789ab")], &[], new_key);
    assert_eq!(issued.id.len(), 86);
    assert!(issued.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
}

#[test]
fn the_wire_form_is_pinned() {
    let issued = Receipt::issue(&envelope(), &[event(0, "ann", "m1")], &[refused(1)], new_key);
    assert_eq!(issued.id, "AQNZbGRPgKCr_vliAQGLz-VoAHq83vASNFZ4mrwgBWFubqCcAaCcAQRtMQ8");
}

#[test]
fn a_request_with_more_than_an_id_has_room_for_is_counted() {
    let id = |number: u32| format!("018bcfe5-6800-7abc-9def-{number:012}");
    let events = |count: u32| (0..count).map(|index| event(index, "ann", &id(index))).collect::<Vec<_>>();
    let most = (1..200)
        .take_while(|count| Receipt::issue(&envelope(), &events(*count), &[], new_key).list_key.is_none())
        .count();
    assert_eq!(most, 62, "events of one user with UUIDs of their own");
    let issued = Receipt::issue(&envelope(), &events(2_500), &[], new_key);
    let receipt = Receipt::read(&issued.id).unwrap();
    assert_eq!((receipt.items, receipt.listed.is_none()), (2_500, true));
    assert_eq!((issued.list_key, receipt.list_key), (Some(new_key()), new_key()));
    assert!(issued.id.len() < 110, "{}", issued.id);
    for subject in ["x".repeat(480), "😀".repeat(480)] {
        let issued = Receipt::issue(&envelope(), &[event(0, &subject, &"i".repeat(400))], &[], new_key);
        assert!(Receipt::read(&issued.id).is_ok() && issued.id.len() <= RECEIPT_ID_CHARS_MAX, "{issued:?}");
    }
}

/// What docs/HTTP-API.md says that receipts cost: how many events an id has room for, and how many a KiB of a list before
/// it is compressed, for ids as clients commonly make them.
#[test]
fn what_an_event_takes_is_as_it_is_documented() {
    type Ids = fn(u32) -> (String, String);
    let cases: [(&str, Ids, usize, usize); 3] = [
        ("one user, UUIDs", |n| ("ann".into(), format!("018bcfe5-6800-7abc-9def-{n:012}")), 62, 42),
        ("many users, UUIDs", |n| (format!("user-{n:05}"), format!("018bcfe5-6800-7abc-9def-{n:012}")), 43, 29),
        (
            "many users, Node's ids",
            |n| (format!("user-{n:05}"), format!("node-next-1700000000000-018bcfe5-6800-7abc-9def-{n:012}")),
            19,
            12,
        ),
    ];
    for (name, ids, most, a_kib) in cases {
        let events = |count: u32| {
            let event = |index| event(index, &ids(index).0, &ids(index).1);
            (0..count).map(event).collect::<Vec<_>>()
        };
        let fits = (1..200)
            .take_while(|count| Receipt::issue(&envelope(), &events(*count), &[], new_key).list_key.is_none())
            .count();
        let message = Message { events: events(1_000), ..envelope() };
        assert_eq!((fits, 1_000 * 1_024 / list(&message).len()), (most, a_kib), "{name}");
    }
}

#[test]
fn a_receipt_is_of_the_project_that_it_was_made_for() {
    let receipt = |envelope: &Message| {
        let issued = Receipt::issue(envelope, &[event(0, "ann", "m1")], &[], new_key);
        Receipt::read(&issued.id).unwrap()
    };
    let ours = receipt(&envelope());
    assert!(ours.may_be_of("dev") && !ours.may_be_of("other"));
    let unchecked = receipt(&Message { project: String::new(), verified: false, ..envelope() });
    assert!(unchecked.may_be_of("dev") && unchecked.may_be_of("other"));
}

#[test]
fn a_list_has_what_its_message_carries() {
    let events = vec![event(7, "ann", "m1"), event(1_900, "ann", "m2")];
    let message = Message { events: events.clone(), refused: vec![refused(8)], ..envelope() };
    let listed = read_list(&list(&message), message.received_at).unwrap();
    assert_listed(&listed, &events, &message.refused);
    for no_list in ["", "!", "\u{0}\u{e9}"] {
        assert!(read_list(no_list.as_bytes(), at(RECEIVED)).is_none_or(|listed| listed.is_empty()), "{no_list}");
    }
}

#[test]
fn what_is_no_id_is_refused() {
    let id = Receipt::issue(&envelope(), &[event(0, "ann", "m1")], &[], new_key).id;
    let short =
        Receipt::issue(&envelope(), &(0..200).map(|n| event(n, "ann", "some-id")).collect::<Vec<_>>(), &[], new_key).id;
    for text in
        ["", "missing", "018bcfe568007abcdef0123456789abc", "ä", &id[1..], &"A".repeat(2_049), &"_".repeat(2_048)]
    {
        assert_eq!(Receipt::read(text).unwrap_err(), NoReceipt, "{text}");
    }
    for id in [id, short] {
        for cut in 0..id.len() {
            assert!(Receipt::read(&id[..cut]).is_err(), "{}", &id[..cut]);
        }
        let mut other = URL_SAFE_NO_PAD.decode(&id).unwrap();
        other[0] = 2;
        assert!(Receipt::read(&URL_SAFE_NO_PAD.encode(&other)).is_err(), "another version");
        other[0] = 1;
        other.push(0);
        assert!(Receipt::read(&URL_SAFE_NO_PAD.encode(&other)).is_err(), "something behind it");
    }
}

#[test]
fn a_hostile_id_can_name_no_key_that_the_table_would_refuse() {
    let long = event(0, &"x".repeat(481), "m");
    let wide = event(0, "ann", &"x".repeat(401));
    for event in [long, wide, event(0, "", "m"), event(0, "ann", ""), event(1, "ann", "m")] {
        let issued = Receipt::issue(&envelope(), std::slice::from_ref(&event), &[], new_key);
        assert!(issued.list_key.is_some() || Receipt::read(&issued.id).is_err(), "{event:?}");
    }
}

fn any_event(index: u32) -> impl Strategy<Value = Event> {
    let time = -1_000_000_000_000_i64..3_000_000_000_000;
    let identity = prop::sample::select(IDENTITIES.to_vec());
    let ids = "[ -~]{1,60}|\\PC{1,30}|[0-9a-f]{32}";
    let device = prop_oneof![Just(None), Just(Some(None)), ids.prop_map(|device| Some(Some(device)))];
    let kind = prop::sample::select(KINDS.to_vec());
    ((ids, device), ids, identity, kind, prop::option::of(time.clone()), time).prop_map(
        move |((subject, device), id, identity, kind, client, time)| Event {
            index,
            identity,
            // Of an event that names nobody, the device is the subject.
            device: device.map(|device| device.unwrap_or_else(|| subject.clone())),
            kind,
            client_time: client.map(at),
            timestamp: at(time),
            ..event(index, &subject, &id)
        },
    )
}

proptest! {
    #[test]
    fn any_request_reads_back(
        items in prop::collection::vec(prop::option::weighted(0.8, any_event(0)), 1..20),
        receipt in "[0-9a-f]{32}|[a-z0-9]{1,20}",
    ) {
        let (mut events, mut bad) = (vec![], vec![]);
        for (index, item) in (0..).zip(items) {
            match item {
                Some(event) => events.push(Event { index, ..event }),
                None => bad.push(refused(index)),
            }
        }
        let envelope = Message { receipt, ..envelope() };
        let issued = Receipt::issue(&envelope, &events, &bad, new_key);
        let read = Receipt::read(&issued.id).unwrap();
        prop_assert_eq!(&read.receipt, &envelope.receipt);
        prop_assert_eq!(read.items as usize, events.len() + bad.len());
        prop_assert_eq!(read.listed.is_none(), issued.list_key.is_some());
        if let Some(listed) = &read.listed {
            assert_listed(listed, &events, &bad);
        }
        let message = Message { events: events.clone(), refused: bad.clone(), ..envelope };
        assert_listed(&read_list(&list(&message), message.received_at).unwrap(), &events, &bad);
    }

    #[test]
    fn any_text_and_any_bytes_are_a_receipt_or_none(text in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..1_536)) {
        let _ = Receipt::read(&text);
        let _ = read_list(&bytes, at(RECEIVED));
        // Behind a beginning that is right, more of it is read.
        let begun = [&[1, 1][..], &bytes].concat();
        for bytes in [&bytes, &begun] {
            if let Ok(receipt) = Receipt::read(&URL_SAFE_NO_PAD.encode(bytes)) {
                prop_assert!(receipt.items as usize <= BATCH_EVENTS_MAX);
            }
        }
    }

    #[test]
    fn any_damage_to_an_id_is_a_receipt_or_none(at in any::<prop::sample::Index>(), byte: u8) {
        let events = [event(0, "ann", "m1"), event(1, "bob", "m2")];
        let mut bytes = URL_SAFE_NO_PAD.decode(Receipt::issue(&envelope(), &events, &[refused(2)], new_key).id).unwrap();
        let position = at.index(bytes.len());
        bytes[position] = byte;
        let _ = Receipt::read(&URL_SAFE_NO_PAD.encode(&bytes));
    }
}
