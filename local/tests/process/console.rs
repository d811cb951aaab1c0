//! What a person sees and does by the console, and what it refuses.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::client::{connect, eventually, post, stored, track};
use crate::process::Process;

const JSON: &str = "Content-Type: application/json\r\n";

/// An answer: its status, its head, and its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Makes a call as it stands; `headers` end in a line's end each.
fn ask(api: &str, line: &str, headers: &str, body: &str) -> Answer {
    let mut stream = connect(api).expect("the console is there");
    let length = body.len();
    let call = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    stream.write_all(call.as_bytes()).expect("it takes the call");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn get(api: &str, path: &str) -> Value {
    let answer = ask(api, &format!("GET /console/api/{path}"), "Host: localhost\r\n", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn set(api: &str, path: &str, value: &Value) -> Answer {
    ask(api, &format!("POST /console/api/{path}"), &format!("Host: localhost\r\n{JSON}"), &value.to_string())
}

fn turn(api: &str, part: &str, broken: bool) {
    let answer = set(api, &format!("switches/{part}"), &json!({"broken": broken}));
    assert_eq!((answer.status, answer.json()[part].is_object()), (200, broken), "{}", answer.body);
}

fn send(api: &str, ids: &[String]) {
    for id in ids {
        assert_eq!(post(api, "/v1/track", &track(id)).expect("an answer"), 200, "{id}");
    }
}

/// Waits until the account is as it should be.
async fn account(api: &str, wanted: Value) {
    eventually("the account", async || match get(api, "state")["account"].clone() {
        seen if wanted.as_object().into_iter().flatten().all(|(name, value)| seen[name] == *value) => Ok(()),
        seen => Err(format!("{seen}, and not {wanted}")),
    })
    .await;
}

/// Waits until nothing waits any more, and lets time-outs pass meanwhile.
async fn drain(api: &str) {
    eventually("everything drains", async || {
        assert_eq!(set(api, "reveal", &json!({})).status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        match &get(api, "state")["account"] {
            account if account["waiting"] == 0 => Ok(()),
            account => Err(account.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_acknowledged_while_parts_are_broken_is_stored_afterwards() {
    let process = Process::ephemeral();
    let api = process.api();
    let ids = |of: &str| (0..4).map(|number| format!("{of}-{number}")).collect::<Vec<_>>();
    send(&api, &ids("before"));
    account(&api, json!({"acknowledged": 4, "stored": 4, "waiting": 0})).await;

    turn(&api, "dynamodb", true);
    send(&api, &ids("dynamodb"));
    account(&api, json!({"acknowledged": 8, "stored": 4, "waiting": 4, "found": 4, "looks_without_all": 0})).await;
    turn(&api, "dynamodb", false);
    drain(&api).await;

    turn(&api, "consume", true);
    send(&api, &ids("consume"));
    account(&api, json!({"acknowledged": 12})).await;
    eventually("an invocation crashes", async || {
        let feed = get(&api, "state")["feed"].clone();
        let crashed = |entry: &Value| entry["text"].as_str().is_some_and(|text| text.contains("Runtime exited"));
        if feed.as_array().is_some_and(|feed| feed.iter().any(crashed)) { Ok(()) } else { Err(feed.to_string()) }
    })
    .await;
    turn(&api, "consume", false);
    drain(&api).await;

    // The last, since afterwards `ingest` leaves SQS alone for a while.
    turn(&api, "sqs", true);
    send(&api, &ids("sqs"));
    account(&api, json!({"acknowledged": 16, "stored": 16})).await;
    let state = get(&api, "state");
    assert_eq!((&state["spilled"], &state["switches"]["sqs"]["spilled"]), (&json!(4), &json!(4)));
    turn(&api, "sqs", false);

    account(&api, json!({"acknowledged": 16, "stored": 16, "duplicate": 0, "dead": 0, "waiting": 0})).await;
    let mut all: Vec<String> = ["before", "sqs", "dynamodb", "consume"].into_iter().flat_map(ids).collect();
    all.sort_unstable();
    assert_eq!(stored(&process.dynamodb()).await, all, "each is stored once");
}

#[tokio::test]
async fn every_fate_is_counted_and_a_letter_is_read_tested_and_discarded() {
    let process = Process::ephemeral();
    let api = process.api();
    let batch = json!({"batch": [track("m1"), track("m1"), {"type": "track", "userId": "ann"}]});
    assert_eq!(post(&api, "/v1/batch", &batch).expect("an answer"), 200);
    account(&api, json!({"acknowledged": 3, "stored": 1, "duplicate": 1, "dead": 1, "waiting": 0})).await;

    let letters = get(&api, "letters?project=dev");
    let name = letters["letters"][0]["name"].as_str().expect("a letter").to_owned();
    let query = format!("name={}", name.replace('#', "%23"));
    let letter = get(&api, &format!("letter?{query}"));
    assert_eq!(
        (&letter["letter"]["reason"], &letter["letter"]["detail"]),
        (&json!("event_not_defined"), &json!("no event"))
    );
    assert!(letter["body"].as_str().is_some_and(|body| body.contains("\"ann\"")), "{letter}");
    assert_eq!(get(&api, &format!("letter/test?{query}"))["verdict"], "still_dead");

    let redriven = set(&api, "letter/redrive", &json!({"name": name}));
    assert_eq!((redriven.status, &redriven.json()["code"]), (409, &json!("still_dead")));
    let discarded = set(&api, "letter/discard", &json!({"name": name, "note": " "}));
    assert_eq!((discarded.status, &discarded.json()["code"]), (400, &json!("bad_request")));
    assert_eq!(set(&api, "letter/discard", &json!({"name": name, "note": "a test"})).status, 200);
    assert_eq!(get(&api, "letters?project=dev")["letters"][0]["state"], "discarded");
    let again = set(&api, "letter/discard", &json!({"name": name, "note": "a test"}));
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("not_open")));

    let person = get(&api, "person?project=dev&id=ann");
    assert_eq!(person["events"].as_array().map(Vec::len), Some(1), "{person}");
    let nobody = ask(&api, "GET /console/api/person?project=Dev&id=ann", "Host: localhost\r\n", "");
    assert_eq!((nobody.status, &nobody.json()["code"]), (400, &json!("bad_request")));
}

#[tokio::test]
async fn hostile_text_leaves_as_json_and_a_page_may_run_nothing_but_its_own_files() {
    let process = Process::ephemeral();
    let api = process.api();
    let hostile = "</script><script>alert(1)</script>\u{2028}\"'&<img src=x onerror=alert(1)>";
    let event = json!({"userId": hostile, "event": hostile, "properties": {hostile: hostile}, "messageId": "h"});
    assert_eq!(post(&api, "/v1/track", &event).expect("an answer"), 200);
    account(&api, json!({"stored": 1})).await;
    let answer = ask(&api, "GET /console/api/state", "Host: localhost\r\n", "");
    let head = answer.head.to_lowercase();
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    let feed = answer.json()["feed"].clone();
    let told = |entry: &Value| entry["text"] == format!("track {hostile}");
    assert!(feed.as_array().is_some_and(|feed| feed.iter().any(told)), "{feed}");

    for (path, content_type) in [("/console", "text/html"), ("/console/main.js", "text/javascript")] {
        let page = ask(&api, &format!("GET {path}"), "Host: localhost\r\n", "");
        let head = page.head.to_lowercase();
        assert_eq!(page.status, 200, "{path}");
        assert!(head.contains(&format!("content-type: {content_type}")), "{head}");
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap_or_default();
        for rule in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "trusted-types 'none'"] {
            assert!(policy.contains(rule), "{policy}");
        }
    }
    assert_eq!(ask(&api, "GET /console/none.js", "Host: localhost\r\n", "").status, 404);
}

#[tokio::test]
async fn no_page_from_elsewhere_can_see_it_or_press_its_buttons() {
    let process = Process::ephemeral();
    let api = process.api();
    let ours = api.trim_start_matches("http://");
    let breaks = json!({"broken": true}).to_string();
    let press = |headers: &str| ask(&api, "POST /console/api/switches/sqs", headers, &breaks).status;
    // A name of theirs that leads here, a page of theirs, another program's page on this machine, and a plain form.
    for headers in [
        format!("Host: evil.example\r\n{JSON}"),
        format!("Host: {ours}\r\nOrigin: http://evil.example\r\n{JSON}"),
        format!("Host: {ours}\r\nOrigin: null\r\n{JSON}"),
        format!("Host: {ours}\r\nOrigin: http://127.0.0.1:1\r\n{JSON}"),
        format!("Host: {ours}\r\nSec-Fetch-Site: cross-site\r\n{JSON}"),
        JSON.to_owned(),
    ] {
        let status = press(&headers);
        // Without a host it is no request of HTTP/1.1 at all.
        assert!(matches!(status, 400 | 403), "{status} for {headers}");
    }
    assert_eq!(press(&format!("Host: {ours}\r\nContent-Type: text/plain\r\n")), 415);
    for path in ["/console", "/console/api/state", "/console/api/letters?project=dev"] {
        let answer = ask(&api, &format!("GET {path}"), "Host: evil.example:80\r\n", "");
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("not_this_machine")), "{path}");
    }
    assert!(get(&api, "state")["switches"]["sqs"].is_null(), "nothing was switched");

    assert_eq!(press(&format!("Host: {ours}\r\nOrigin: {api}\r\nSec-Fetch-Site: same-origin\r\n{JSON}")), 200);
    assert!(get(&api, "state")["switches"]["sqs"].is_object());
    // The HTTP API itself is as open as it ever was.
    assert_eq!(ask(&api, "GET /health", "Host: evil.example\r\n", "").status, 200);
}
