//! Tests of queues themselves: names, attributes, tags, listing, purge, deletion.

use super::super::{queue_name_of_arn, queue_name_of_url};
use super::*;

fn create(queues: &mut Queues, name: &str, attributes: &[(&str, &str)]) -> Option<Code> {
    code(queues.create_queue(START, name, &pairs(attributes), BTreeMap::new()))
}

#[test]
fn a_queue_that_says_nothing_has_the_documented_defaults() {
    let mut queues = with_queue(&[]);
    send(&mut queues, START, "q", "a");
    let expected = [
        ("ApproximateNumberOfMessages", "1"),
        ("ApproximateNumberOfMessagesDelayed", "0"),
        ("ApproximateNumberOfMessagesNotVisible", "0"),
        ("CreatedTimestamp", "1800000000"),
        ("DelaySeconds", "0"),
        ("LastModifiedTimestamp", "1800000000"),
        ("MaximumMessageSize", "1048576"),
        ("MessageRetentionPeriod", "345600"),
        ("QueueArn", "arn:aws:sqs:us-east-1:000000000000:q"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("SqsManagedSseEnabled", "true"),
        ("VisibilityTimeout", "30"),
    ];
    assert_eq!(queues.queue_attributes(START, "q", &["All".into()]).unwrap(), pairs(&expected));
    let one = queues.queue_attributes(START, "q", &["DelaySeconds".into()]).unwrap();
    assert_eq!(one, pairs(&[("DelaySeconds", "0")]));
    assert!(queues.queue_attributes(START, "q", &[]).unwrap().is_empty());
    assert_eq!(code(queues.queue_attributes(START, "q", &["Nope".into()])), Some(Code::InvalidAttributeName));
}

#[test]
fn each_attribute_is_taken_at_its_limits_and_refused_beyond() {
    for (name, low, high) in [
        ("DelaySeconds", 0, 900),
        ("MaximumMessageSize", 1_024, 1_048_576),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("VisibilityTimeout", 0, 43_200),
        ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
    ] {
        for (value, expected) in [(low, None), (high, None)]
            .into_iter()
            .chain([low - 1, high + 1].map(|value| (value, Some(Code::InvalidAttributeValue))))
        {
            assert_eq!(create(&mut empty(), "q", &[(name, &value.to_string())]), expected, "{name}={value}");
        }
        assert_eq!(create(&mut empty(), "q", &[(name, "many")]), Some(Code::InvalidAttributeValue), "{name}");
    }
    assert_eq!(create(&mut empty(), "q", &[("Nope", "1")]), Some(Code::InvalidAttributeName));
    assert_eq!(create(&mut empty(), "q", &[("QueueArn", "x")]), Some(Code::InvalidAttributeName));
    assert_eq!(create(&mut empty(), "q", &[("Policy", "no json")]), Some(Code::InvalidAttributeValue));
    assert_eq!(create(&mut empty(), "q", &[("SqsManagedSseEnabled", "maybe")]), Some(Code::InvalidAttributeValue));
}

#[test]
fn attributes_are_changed_all_or_none_and_given_back() {
    let mut queues = with_queue(&[]);
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let later = START + 5 * SECOND;
    let change = pairs(&[("VisibilityTimeout", "9"), ("Policy", policy), ("SqsManagedSseEnabled", "false")]);
    queues.set_queue_attributes(later, "q", &change).unwrap();
    let bad = pairs(&[("DelaySeconds", "9"), ("VisibilityTimeout", "-1")]);
    assert_eq!(code(queues.set_queue_attributes(later, "q", &bad)), Some(Code::InvalidAttributeValue));
    let found = queues.queue_attributes(later, "q", &["All".into()]).unwrap();
    for (name, value) in [
        ("VisibilityTimeout", "9"),
        ("Policy", policy),
        ("SqsManagedSseEnabled", "false"),
        ("DelaySeconds", "0"),
        ("LastModifiedTimestamp", "1800000005"),
        ("CreatedTimestamp", "1800000000"),
    ] {
        assert_eq!(found[name], value);
    }
    queues.set_queue_attributes(later, "q", &pairs(&[("Policy", "")])).unwrap();
    assert!(!queues.queue_attributes(later, "q", &["All".into()]).unwrap().contains_key("Policy"));
}

#[test]
fn names_that_sqs_refuses_are_refused() {
    for name in ["", "a b", "a!", "é", "a.fifo", &"n".repeat(81)] {
        assert_eq!(create(&mut empty(), name, &[]), Some(Code::InvalidParameterValue), "{name:?}");
    }
    for name in ["a", "A-b_9", &"n".repeat(80)] {
        assert_eq!(create(&mut empty(), name, &[]), None, "{name:?}");
    }
    assert_eq!(create(&mut empty(), "a", &[("FifoQueue", "true")]), Some(Code::InvalidParameterValue));
    assert_eq!(create(&mut empty(), ".fifo", &[("FifoQueue", "true")]), Some(Code::InvalidParameterValue));
    assert_eq!(create(&mut empty(), "a.fifo", &[("FifoQueue", "false")]), Some(Code::InvalidAttributeName));
}

#[test]
fn creating_a_queue_again_succeeds_unless_an_attribute_differs() {
    let mut queues = with_queue(&[("VisibilityTimeout", "7")]);
    send(&mut queues, START, "q", "kept");
    assert_eq!(create(&mut queues, "q", &[("VisibilityTimeout", "7")]), None);
    assert_eq!(create(&mut queues, "q", &[]), None);
    assert_eq!(create(&mut queues, "q", &[("VisibilityTimeout", "8")]), Some(Code::QueueNameExists));
    assert_eq!(counts(&mut queues, START, "q"), (1, 0, 0));
}

#[test]
fn a_deleted_queue_takes_its_messages_along_and_its_name_is_free_after_a_minute() {
    let mut queues = with_queue(&[]);
    send(&mut queues, START, "q", "a");
    queues.delete_queue(START, "q").unwrap();
    assert_eq!(code(queues.depth(START, "q")), Some(Code::QueueDoesNotExist));
    assert_eq!(code(queues.delete_queue(START, "q")), Some(Code::QueueDoesNotExist));
    let create = |queues: &mut Queues, now| code(queues.create_queue(now, "q", &pairs(&[]), BTreeMap::new()));
    assert_eq!(create(&mut queues, START + 59_999), Some(Code::QueueDeletedRecently));
    assert_eq!(create(&mut queues, START + 60_000), None);
    assert_eq!(counts(&mut queues, START + 60_000, "q"), (0, 0, 0));
}

#[test]
fn a_purge_empties_a_queue_and_is_refused_again_within_a_minute() {
    let mut queues = with_queue(&[]);
    send(&mut queues, START, "q", "in flight");
    receive(&mut queues, START, "q");
    send(&mut queues, START, "q", "visible");
    queues.purge_queue(START, "q").unwrap();
    assert_eq!(counts(&mut queues, START, "q"), (0, 0, 0));
    send(&mut queues, START, "q", "after");
    assert_eq!(code(queues.purge_queue(START + 59_999, "q")), Some(Code::PurgeQueueInProgress));
    assert_eq!(bodies(&receive(&mut queues, START + 59_999, "q")), ["after"]);
    queues.purge_queue(START + 60_000, "q").unwrap();
}

#[test]
fn queues_are_listed_by_prefix_and_in_pages() {
    let mut queues = empty();
    for name in ["b-1", "a-3", "a-1", "a-2"] {
        assert_eq!(create(&mut queues, name, &[]), None);
    }
    let all = queues.list_queues("", None, None).unwrap();
    assert_eq!((all.names.len(), all.next_token), (4, None));
    let first = queues.list_queues("a-", Some(2), None).unwrap();
    assert_eq!(first.names, ["a-1", "a-2"]);
    let second = queues.list_queues("a-", Some(2), first.next_token.as_deref()).unwrap();
    assert_eq!((second.names, second.next_token), (vec!["a-3".to_owned()], None));
    for max in [0, 1_001] {
        assert_eq!(code(queues.list_queues("", Some(max), None)), Some(Code::InvalidParameterValue));
    }
}

#[test]
fn tags_are_added_replaced_and_removed() {
    let mut queues = with_queue(&[]);
    queues.tag_queue("q", pairs(&[("a", "1"), ("b", "2")])).unwrap();
    queues.tag_queue("q", pairs(&[("b", "3")])).unwrap();
    queues.untag_queue("q", &["a".into(), "nope".into()]).unwrap();
    assert_eq!(queues.tags("q").unwrap(), &pairs(&[("b", "3")]));
    let many = (0..50).map(|index| (index.to_string(), String::new())).collect();
    assert_eq!(code(queues.tag_queue("q", many)), Some(Code::InvalidParameterValue));
    assert_eq!(code(queues.tag_queue("nope", pairs(&[]))), Some(Code::QueueDoesNotExist));
}

#[test]
fn a_queue_is_found_by_the_path_of_its_url_whatever_the_host() {
    for host in ["127.0.0.1:4566", "localhost:9", "sqs.us-east-1.amazonaws.com", "host.docker.internal:1"] {
        assert_eq!(queue_name_of_url(&format!("http://{host}/000000000000/q.fifo")), Some("q.fifo"));
    }
    for url in ["", "q", "http://h/q", "http://h/123456789012/q", "http://h/000000000000/", "http://h/000000000000/a/b"]
    {
        assert_eq!(queue_name_of_url(url), None, "{url}");
    }
    assert_eq!(queue_name_of_arn(&queue_arn("q")), Some("q"));
    assert_eq!(queue_name_of_arn("arn:aws:sqs:us-east-1:000000000000:"), None);
    assert_eq!(queue_name_of_arn("arn:aws:sns:us-east-1:000000000000:q"), None);
}
