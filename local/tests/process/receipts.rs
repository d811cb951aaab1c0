//! A receipt through the gateway and the third function, as a producer asks with it.

use std::io::{Read, Write};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{connect, eventually, head, track};
use crate::process::Process;

/// What is answered to a request: its head, and its body.
fn ask(api: &str, request: &str) -> (String, Value) {
    let mut stream = connect(api).expect("the API is there");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.to_owned(), serde_json::from_str(body).expect("every body is JSON"))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ZGV2Og==\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_producer_is_told_what_has_become_of_an_event() {
    let mut process = Process::ephemeral();
    let api = process.api();
    let body = track("m1").to_string();
    let (accepted, _) = ask(&api, &(head("/v1/track", body.len()) + &body));
    let header = |name: &str| {
        let line = accepted.lines().find_map(|line| line.split_once(": ").filter(|(known, _)| *known == name));
        line.unwrap_or_else(|| panic!("no {name} in {accepted}")).1
    };
    assert_eq!(header("access-control-expose-headers"), "X-Holdfast-Receipt");
    let path = format!("/v1/receipts/{}", header("x-holdfast-receipt"));
    eventually("the event is stored", async || {
        let (_, told) = ask(&api, &get(&path));
        if told["items"][0]["fate"] == "stored" { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    let batch = json!({"batch": [track("m1"), track("m2")]}).to_string();
    let (_, told) = ask(&api, &(head("/v1/receipts/missing", batch.len()) + &batch));
    assert_eq!(told["missing"], json!([{"index": 1, "messageId": "m2"}]));
    let (refused, told) = ask(&api, &get("/v1/receipts/no/receipt"));
    assert!(refused.starts_with("HTTP/1.1 404") && told["code"] == "not_found", "{refused} {told}");
    process.signal(Signal::INT);
    assert_eq!(process.ended().0, Some(0), "{:#?}", process.lines());
}
