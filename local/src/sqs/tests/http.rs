//! Tests of the protocol's shape, byte by byte where clients depend on it.

use super::*;

#[tokio::test]
async fn a_message_goes_in_and_out_in_the_documented_shape() {
    let local = Local::start().await;
    let url = local.queue("q", json!({"VisibilityTimeout": "7"})).await;
    assert_eq!(url, format!("{}/000000000000/q", local.server.endpoint()));
    assert_eq!(url, local.server.queue_url("q"));
    assert_eq!(Server::queue_arn("q"), "arn:aws:sqs:us-east-1:000000000000:q");
    let message = json!({
        "QueueUrl": url,
        "MessageBody": "hello",
        "MessageGroupId": "tenant",
        "MessageAttributes": {
            "a.x": {"DataType": "String", "StringValue": "v"},
            "b": {"DataType": "Binary", "BinaryValue": "AAE="},
        },
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}},
    });
    let sent = local.call("SendMessage", message).await;
    assert_eq!(sent.body["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    assert!(sent.body["MD5OfMessageSystemAttributes"].is_string() && sent.body.get("SequenceNumber").is_none());
    assert!(sent.head.contains("content-type: application/x-amz-json-1.0"), "{}", sent.head);
    assert!(sent.head.contains("x-amzn-requestid: "), "{}", sent.head);
    let all = json!({"QueueUrl": url, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]});
    let received = local.call("ReceiveMessage", all).await.body;
    let message = &received["Messages"][0];
    assert_eq!(message["MessageId"], sent.body["MessageId"]);
    assert_eq!(message["MD5OfMessageAttributes"], sent.body["MD5OfMessageAttributes"]);
    assert_eq!(message["MessageAttributes"]["b"], json!({"DataType": "Binary", "BinaryValue": "AAE="}));
    let expected = json!({
        "SenderId": "AIDAHOLDFASTLOCAL0000",
        "SentTimestamp": START.to_string(),
        "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": START.to_string(),
        "MessageGroupId": "tenant",
        "AWSTraceHeader": "Root=1-2-3",
    });
    assert_eq!(message["Attributes"], expected);
}

#[tokio::test]
async fn only_the_attributes_asked_for_come_back_and_the_digest_is_of_these() {
    let local = Local::start().await;
    let url = local.queue("q", json!({"VisibilityTimeout": "0"})).await;
    let text = |value| json!({"DataType": "String", "StringValue": value});
    let attributes = json!({"a.x": text("1"), "a.y": text("2"), "b": text("3")});
    local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "m", "MessageAttributes": attributes})).await;
    let mut digests = Vec::new();
    for (asked, expected) in [
        (json!({}), json!(null)),
        (json!({"MessageAttributeNames": ["b", "nope"]}), json!(["b"])),
        (json!({"MessageAttributeNames": ["a.*"]}), json!(["a.x", "a.y"])),
        (json!({"MessageAttributeNames": [".*"]}), json!(["a.x", "a.y", "b"])),
    ] {
        let mut request = asked;
        request["QueueUrl"] = json!(url);
        request["AttributeNames"] = json!(["SentTimestamp"]);
        let received = local.call("ReceiveMessage", request).await.body;
        let message = &received["Messages"][0];
        assert_eq!(message["Attributes"], json!({"SentTimestamp": START.to_string()}));
        let names = message.get("MessageAttributes").map(|found| found.as_object().unwrap().keys().collect::<Vec<_>>());
        assert_eq!(json!(names), expected);
        digests.push(message.get("MD5OfMessageAttributes").cloned());
    }
    assert_eq!(digests[0], None);
    assert_ne!(digests[1], digests[3]);
    let unknown = json!({"QueueUrl": url, "MessageSystemAttributeNames": ["Nope"]});
    assert_eq!(local.call("ReceiveMessage", unknown).await.body["__type"], "com.amazonaws.sqs#InvalidAttributeName");
}

#[tokio::test]
async fn an_error_names_its_shape_and_its_query_code() {
    let local = Local::start().await;
    let url = local.server.queue_url("nope");
    let reply = local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "a"})).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.body["__type"], "com.amazonaws.sqs#QueueDoesNotExist");
    assert_eq!(reply.body["message"], "The specified queue does not exist.");
    let query_error = "x-amzn-query-error: aws.simplequeueservice.nonexistentqueue;sender";
    assert!(reply.head.contains(query_error), "{}", reply.head);
    let missing = local.call("SendMessage", json!({"MessageBody": "a"})).await;
    assert!(missing.head.contains("x-amzn-query-error: missingparameter;sender"), "{}", missing.head);
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_a_browser_gets_a_line_of_text() {
    let local = Local::start().await;
    for (target, body, shape) in [
        ("AmazonSQS.Nope", "{}", "com.amazon.coral.service#UnknownOperationException"),
        ("Other.SendMessage", "{}", "com.amazon.coral.service#UnknownOperationException"),
        ("AmazonSQS.AddPermission", "{}", "com.amazonaws.sqs#UnsupportedOperation"),
        ("AmazonSQS.SendMessage", "no json", "com.amazon.coral.service#SerializationException"),
        ("AmazonSQS.SendMessage", "{\"MessageBody\":1}", "com.amazon.coral.service#SerializationException"),
    ] {
        let reply = local.try_call_text(target, body).await.unwrap();
        assert_eq!((reply.status, &reply.body["__type"]), (400, &json!(shape)), "{target} {body}");
    }
    let mut stream = TcpStream::connect(local.server.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut page)).await.unwrap().unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("SQS stand-in"), "{page}");
}

#[tokio::test]
async fn a_message_of_one_mebibyte_fits_however_it_is_escaped_and_a_body_beyond_the_limit_is_answered() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    let escaped = "\\u0022".repeat(1_048_576);
    let body = format!("{{\"QueueUrl\":\"{url}\",\"MessageBody\":\"{escaped}\"}}");
    assert_eq!(local.try_call_text("AmazonSQS.SendMessage", &body).await.unwrap().status, 200);
    let huge = "x".repeat(9 * 1_048_576);
    let reply = local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": huge})).await;
    assert!(reply.head.contains("x-amzn-query-error: invalidparametervalue;sender"), "{}", reply.head);
    let entries = json!([{"Id": "a", "MessageBody": huge}]);
    let reply = local.call("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(reply.body["__type"], "com.amazonaws.sqs#BatchRequestTooLong");
}

#[tokio::test]
async fn a_batch_tells_each_entrys_fate_in_the_documented_shape() {
    let local = Local::start().await;
    let url = local.queue("q", json!({"MaximumMessageSize": "1024"})).await;
    let entries =
        json!([{"Id": "ok", "MessageBody": "a"}, {"Id": "large", "MessageBody": "x".repeat(1_025)}, {"Id": "no"}]);
    let reply = local.call("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body["Successful"][0]["Id"], "ok");
    assert!(reply.body["Successful"][0]["MessageId"].is_string());
    let failed = &reply.body["Failed"];
    assert_eq!((&failed[0]["Code"], &failed[0]["SenderFault"]), (&json!("InvalidParameterValue"), &json!(true)));
    assert_eq!((&failed[1]["Id"], &failed[1]["Code"]), (&json!("no"), &json!("MissingParameter")));
    let received = local.call("ReceiveMessage", json!({"QueueUrl": url})).await.body;
    let handle = &received["Messages"][0]["ReceiptHandle"];
    let entries = json!([{"Id": "ok", "ReceiptHandle": handle}, {"Id": "bad", "ReceiptHandle": "garbage"}]);
    let reply = local.call("DeleteMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(reply.body["Successful"], json!([{"Id": "ok"}]));
    assert_eq!(reply.body["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn a_listener_that_others_can_reach_is_refused() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let started = Server::start(listener, Options { clock: Arc::new(|| START), data: None }).await;
    assert!(started.is_err());
}
