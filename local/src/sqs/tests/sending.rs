//! Tests of sending.

use super::super::{MessageAttribute, NewMessage};
use super::*;

const MIB: usize = 1_048_576;

fn refused(message: NewMessage) -> Option<Code> {
    code(with_queue(&[]).send(START, "q", message))
}

fn with_attribute(name: &str, attribute: MessageAttribute) -> NewMessage {
    NewMessage { attributes: BTreeMap::from([(name.to_owned(), attribute)]), ..NewMessage::of("body") }
}

fn typed(data_type: &str, string_value: Option<&str>, binary_value: Option<&str>) -> MessageAttribute {
    MessageAttribute {
        data_type: data_type.into(),
        string_value: string_value.map(Into::into),
        binary_value: binary_value.map(Into::into),
    }
}

#[test]
fn a_message_of_one_mebibyte_is_taken_and_one_more_byte_is_not() {
    assert_eq!(refused(NewMessage::of("x".repeat(MIB))), None);
    assert_eq!(refused(NewMessage::of("x".repeat(MIB + 1))), Some(Code::InvalidParameterValue));
    // The limit is one of bytes, not of characters.
    assert_eq!(refused(NewMessage::of("é".repeat(MIB / 2 + 1))), Some(Code::InvalidParameterValue));
}

#[test]
fn attributes_count_towards_the_size_and_the_trace_header_does_not() {
    let mut queues = with_queue(&[("MaximumMessageSize", "1024")]);
    let mut message = NewMessage::of("x".repeat(1_000));
    // Name 1, type 6, value 17: together 1,024.
    message.attributes.insert("k".into(), MessageAttribute::text("y".repeat(17)));
    message.system_attributes.insert("AWSTraceHeader".into(), MessageAttribute::text("Root=1-5759e988".repeat(9)));
    assert_eq!(code(queues.send(START, "q", message.clone())), None);
    message.attributes.insert("k".into(), MessageAttribute::text("y".repeat(18)));
    assert_eq!(code(queues.send(START, "q", message)), Some(Code::InvalidParameterValue));
}

#[test]
fn an_empty_body_is_a_missing_parameter() {
    assert_eq!(refused(NewMessage::of("")), Some(Code::MissingParameter));
}

#[test]
fn only_characters_of_xml_are_taken() {
    for body in ["\t\n\r", " ~\u{7f}\u{85}", "\u{D7FF}\u{E000}\u{FFFD}", "\u{10000}\u{10FFFF}"] {
        assert_eq!(refused(NewMessage::of(body)), None, "{body:?}");
    }
    for body in ["\0", "\u{2}", "\u{b}", "\u{1f}", "\u{FFFE}", "\u{FFFF}"] {
        assert_eq!(refused(NewMessage::of(body)), Some(Code::InvalidMessageContents), "{body:?}");
    }
}

#[test]
fn the_digest_of_attributes_is_the_one_that_clients_compute() {
    // Sorted by name; lengths as four bytes, most significant first; 1 before text, 2 before bytes. The expected value
    // is MD5 over exactly those bytes, computed outside this code.
    let mut message = NewMessage::of("héllo");
    message.attributes.insert("n".into(), typed("Number", Some("1"), None));
    message.attributes.insert("a".into(), MessageAttribute::text("v"));
    message.attributes.insert("b".into(), typed("Binary", None, Some("AAE=")));
    let sent = with_queue(&[]).send(START, "q", message).unwrap();
    assert_eq!(sent.md5_of_attributes.as_deref(), Some("06f164134b4649a85eb16bb161ec842e"));
    assert_eq!(sent.md5_of_body, "be50e8478cf24ff3595bc7307fb91b50");
    assert_eq!(sent.md5_of_system_attributes, None);
}

#[test]
fn attributes_that_sqs_refuses_are_refused() {
    let text = || MessageAttribute::text("v");
    for name in ["", ".a", "a.", "a..b", "a b", "AWS.x", "amazon.x", "é"] {
        assert_eq!(refused(with_attribute(name, text())), Some(Code::InvalidParameterValue), "{name:?}");
    }
    for attribute in [
        typed("", Some("v"), None),
        typed("Boolean", Some("v"), None),
        typed("String", Some(""), None),
        typed("String", None, None),
        typed("String", Some("v"), Some("AAE=")),
        typed("Number", Some("one"), None),
        typed("Binary", Some("AAE="), None),
        typed("Binary", None, Some("no base64!")),
    ] {
        assert_eq!(refused(with_attribute("a", attribute.clone())), Some(Code::InvalidParameterValue), "{attribute:?}");
    }
    assert_eq!(refused(with_attribute("a", MessageAttribute::text("\u{1}"))), Some(Code::InvalidMessageContents));
    assert_eq!(refused(with_attribute("a.b-c_d", typed("Number.int", Some("-1.5e3"), None))), None);
    let eleven = (0..11).map(|index| (format!("a{index}"), text())).collect();
    assert_eq!(refused(NewMessage { attributes: eleven, ..NewMessage::of("b") }), Some(Code::InvalidParameterValue));
}

#[test]
fn only_the_trace_header_can_be_set_as_system_attribute() {
    let with_system = |name: &str| {
        let system_attributes = BTreeMap::from([(name.to_owned(), MessageAttribute::text("v"))]);
        NewMessage { system_attributes, ..NewMessage::of("b") }
    };
    assert_eq!(refused(with_system("AWSTraceHeader")), None);
    assert_eq!(refused(with_system("SenderId")), Some(Code::InvalidParameterValue));
}

#[test]
fn a_delay_hides_a_message_and_its_own_delay_comes_before_the_queues() {
    let mut queues = with_queue(&[("DelaySeconds", "5")]);
    send(&mut queues, START, "q", "queue's");
    for (body, seconds) in [("none", 0), ("own", 9)] {
        let message = NewMessage { delay_seconds: Some(seconds), ..NewMessage::of(body) };
        queues.send(START, "q", message).unwrap();
    }
    assert_eq!(counts(&mut queues, START, "q"), (1, 0, 2));
    assert_eq!(bodies(&receive(&mut queues, START + 4_999, "q")), ["none"]);
    assert_eq!(bodies(&receive(&mut queues, START + 5_000, "q")), ["queue's"]);
    assert_eq!(bodies(&receive(&mut queues, START + 9_000, "q")), ["own"]);
    for seconds in [-1, 901] {
        let message = NewMessage { delay_seconds: Some(seconds), ..NewMessage::of("b") };
        assert_eq!(refused(message), Some(Code::InvalidParameterValue));
    }
}

#[test]
fn a_batch_is_refused_as_a_whole_for_its_ids_its_length_and_its_size() {
    let entries = |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), NewMessage::of("b"))).collect::<Vec<_>>();
    let eleven: Vec<String> = (0..11).map(|index| index.to_string()).collect();
    let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
    let long = "i".repeat(81);
    for (ids, expected) in [
        (&[][..], Code::EmptyBatchRequest),
        (&eleven, Code::TooManyEntriesInBatchRequest),
        (&["a", "a"], Code::BatchEntryIdsNotDistinct),
        (&["a b"], Code::InvalidBatchEntryId),
        (&[""], Code::InvalidBatchEntryId),
        (&[&long], Code::InvalidBatchEntryId),
    ] {
        assert_eq!(code(with_queue(&[]).send_batch(START, "q", entries(ids))), Some(expected), "{ids:?}");
    }
    let halves = |bytes: usize| {
        let entry = |id: &str, bytes| (id.to_owned(), NewMessage::of("x".repeat(bytes)));
        vec![entry("a", MIB / 2), entry("b", bytes)]
    };
    assert_eq!(code(with_queue(&[]).send_batch(START, "q", halves(MIB / 2))), None);
    assert_eq!(code(with_queue(&[]).send_batch(START, "q", halves(MIB / 2 + 1))), Some(Code::BatchRequestTooLong));
    let alone = vec![("a".to_owned(), NewMessage::of("x".repeat(MIB + 1)))];
    assert_eq!(code(with_queue(&[]).send_batch(START, "q", alone)), Some(Code::BatchRequestTooLong));
}

#[test]
fn a_bad_entry_of_a_batch_does_not_spoil_the_others() {
    let mut queues = with_queue(&[("MaximumMessageSize", "1024")]);
    let entries =
        [("ok", "a".to_owned()), ("large", "x".repeat(1_025)), ("control", "\u{1}".into()), ("fine", "b".into())];
    let entries = entries.into_iter().map(|(id, body)| (id.to_owned(), NewMessage::of(body))).collect();
    let batch = queues.send_batch(START, "q", entries).unwrap();
    let codes: Vec<_> = batch.into_iter().map(|(id, outcome)| (id, code(outcome))).collect();
    assert_eq!(
        codes,
        [
            ("ok".to_owned(), None),
            ("large".to_owned(), Some(Code::InvalidParameterValue)),
            ("control".to_owned(), Some(Code::InvalidMessageContents)),
            ("fine".to_owned(), None)
        ]
    );
    assert_eq!(bodies(&receive(&mut queues, START, "q")), ["a", "b"]);
}

#[test]
fn a_group_id_is_taken_by_a_standard_queue_and_a_deduplication_id_is_not() {
    let with_group = |group: &str| NewMessage { group: Some(group.into()), ..NewMessage::of("b") };
    assert_eq!(refused(with_group(&"g".repeat(128))), None);
    for group in ["", "a b", "é", &"g".repeat(129)] {
        assert_eq!(refused(with_group(group)), Some(Code::InvalidParameterValue), "{group:?}");
    }
    let deduplicated = NewMessage { deduplication_id: Some("d".into()), ..NewMessage::of("b") };
    assert_eq!(refused(deduplicated), Some(Code::InvalidParameterValue));
}

#[test]
fn nothing_can_be_sent_to_a_queue_that_is_not_there() {
    assert_eq!(code(empty().send(START, "q", NewMessage::of("b"))), Some(Code::QueueDoesNotExist));
}
