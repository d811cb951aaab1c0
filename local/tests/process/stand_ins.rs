//! The stand-ins alone, for functions that run elsewhere.

use aws_sdk_sqs::types::MessageSystemAttributeName::ApproximateReceiveCount;
use rustix::process::Signal;

use crate::client::scan;
use crate::proc::environments;
use crate::process::Process;

#[tokio::test]
async fn without_functions_there_are_queues_and_tables_that_nothing_else_reads() {
    let mut process = Process::ready(Process::spawn(&["--ephemeral", "--no-functions"]));
    let (sqs, dynamodb) = (process.sqs(), process.dynamodb());
    assert!(!process.lines().iter().any(|line| line.starts_with("HTTP API")), "{:#?}", process.lines());
    let keys = scan(&dynamodb, "EventsTable").await;
    assert_eq!(keys.len(), 2, "the write key of the project dev, and its entry in the register");

    let client = local::clients::sqs(&sqs);
    let url = format!("{sqs}/{}/holdfast-events", local::lambda::ACCOUNT);
    client.send_message().queue_url(&url).message_body("text").send().await.expect("the queue takes it");
    let receive = client.receive_message().queue_url(&url).message_system_attribute_names(ApproximateReceiveCount);
    let received = receive.wait_time_seconds(1).send().await.expect("the queue answers");
    let [message] = received.messages() else { panic!("not one message: {received:?}") };
    let count = message.attributes().and_then(|attributes| attributes.get(&ApproximateReceiveCount));
    assert_eq!(count.map(String::as_str), Some("1"), "nobody has received it before");
    assert_eq!(environments(&sqs), []);

    process.signal(Signal::INT);
    assert_eq!(process.ended().0, Some(0), "{:#?}", process.lines());
}
