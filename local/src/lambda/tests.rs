//! Tests of the Lambda server against real child processes.
//!
//! A child is this very test binary, started with the name of the test `child_entry`, which then is a small runtime:
//! a client of the Runtime API on a bare socket that does what its event tells it to.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{FunctionSpec, InvokeError, Lambda, PAYLOAD_BYTES_MAX, Sink, epoch_millis, lock};

/// The variable that turns the test `child_entry` into a child.
const MODE: &str = "TEST_CHILD_MODE";

/// What the children wrote.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(String, String)>>>);

impl Log {
    pub(crate) fn sink(&self) -> Sink {
        let lines = Arc::clone(&self.0);
        Arc::new(move |function, line| lock(&lines).push((function.to_owned(), line.to_owned())))
    }

    /// Waits, for 5 s at the most, until a function has written this.
    async fn wait_for(&self, text: &str) {
        let started = Instant::now();
        while !lock(&self.0).iter().any(|(function, line)| function == "fake" && line.contains(text)) {
            assert!(started.elapsed() < Duration::from_secs(5), "no {text:?} in {:?}", lock(&self.0));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A function `fake` whose children run `child_entry`; each event says what to do.
pub(crate) fn fake(mode: &str, environments_max: usize, timeout: Duration) -> FunctionSpec {
    let path = module_path!().split_once("::").map_or("tests", |(_, path)| path);
    let mut environment = BTreeMap::from([(MODE.to_owned(), mode.to_owned())]);
    environment.insert("TEST_OWN".to_owned(), "mine".to_owned());
    FunctionSpec {
        name: "fake".to_owned(),
        command: std::env::current_exe().unwrap(),
        args: vec![format!("{path}::child_entry"), "--exact".to_owned(), "--nocapture".to_owned()],
        memory_mb: 128,
        timeout,
        environment,
        environments_max,
    }
}

fn start(mode: &str, environments_max: usize, timeout_ms: u64) -> (Lambda, Log) {
    let log = Log::default();
    (Lambda::start([fake(mode, environments_max, Duration::from_millis(timeout_ms))], log.sink()), log)
}

async fn call(lambda: &Lambda, event: Value) -> Result<Value, InvokeError> {
    let response = lambda.invoke("fake", Bytes::from(event.to_string())).await?;
    Ok(serde_json::from_slice(&response).unwrap())
}

/// One call of the Runtime API: the answer's head, in lower case but for the values, and its body.
fn exchange(method: &str, path: &str, body: &[u8]) -> (BTreeMap<String, String>, Vec<u8>) {
    let api = std::env::var_os("AWS_LAMBDA_RUNTIME_API").unwrap().into_string().unwrap();
    let mut socket = TcpStream::connect(&api).unwrap();
    let length = body.len();
    write!(
        socket,
        "{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .unwrap();
    socket.write_all(body).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut headers = BTreeMap::from([("status".to_owned(), head[9..12].to_owned())]);
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    (headers, answer[end + 4..].to_vec())
}

/// What to do: the event itself says so, or the body of the request or of the first message that it carries.
fn order(event: &Value) -> Value {
    let body = event["body"].as_str().or_else(|| event["Records"][0]["body"].as_str());
    body.and_then(|body| serde_json::from_str(body).ok()).unwrap_or_else(|| event.clone())
}

/// Not a test but a child, when started as one.
#[test]
fn child_entry() {
    let Some(mode) = std::env::var_os(MODE) else { return };
    super::die_with_parent();
    match mode.to_str().unwrap() {
        "exit-at-init" => std::process::exit(3),
        "report-at-init" => {
            exchange("POST", "init/error", br#"{"errorType":"Config","errorMessage":"TABLE is not set"}"#);
            std::process::exit(1);
        }
        "small-memory" => super::limit_memory(128),
        _ => {}
    }
    let mut served = 0;
    loop {
        let (headers, body) = exchange("GET", "invocation/next", b"");
        served += 1;
        let event: Value = serde_json::from_slice(&body).unwrap();
        let id = &headers["lambda-runtime-aws-request-id"];
        let (respond, fail) = (format!("invocation/{id}/response"), format!("invocation/{id}/error"));
        let order = order(&event);
        match order["do"].as_str().unwrap_or("answer") {
            "sleep" => std::thread::sleep(Duration::from_millis(order["ms"].as_u64().unwrap())),
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            "fail" => {
                exchange("POST", &fail, br#"{"errorType":"Boom","errorMessage":"no"}"#);
                continue;
            }
            "allocate" => {
                let mut hoard = vec![0_u8; 300 << 20];
                hoard.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
                std::hint::black_box(hoard);
            }
            "respond" => {
                exchange("POST", &respond, order["with"].as_str().unwrap().as_bytes());
                continue;
            }
            "respond-large" => {
                let (answer, _) = exchange("POST", &respond, &vec![b' '; PAYLOAD_BYTES_MAX + 1]);
                assert_eq!(answer["status"], "413");
                continue;
            }
            "wrong-id" => {
                let (answer, _) = exchange("POST", "invocation/other/response", b"{}");
                assert_eq!(answer["status"], "400");
                let (answer, _) = exchange("GET", "invocation/next", b"");
                assert_eq!(answer["status"], "403");
            }
            _ => {}
        }
        println!("served {served}");
        let report = json!({
            "pid": std::process::id(),
            "served": served,
            "headers": headers,
            "environment": std::env::vars().collect::<BTreeMap<_, _>>(),
            "event": event,
        });
        let (answer, _) = exchange("POST", &respond, report.to_string().as_bytes());
        assert_eq!(answer["status"], "202");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_starts_cold_and_is_used_again_warm() {
    let (lambda, log) = start("plain", 4, 10_000);
    let first = call(&lambda, json!({ "n": 1 })).await.unwrap();
    let second = call(&lambda, json!({ "n": 2 })).await.unwrap();
    assert_eq!((&first["served"], &second["served"]), (&json!(1), &json!(2)));
    assert_eq!(first["pid"], second["pid"]);
    assert_eq!(second["event"], json!({ "n": 2 }));
    log.wait_for("served 2").await;
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_told_what_lambda_tells() {
    let (lambda, _log) = start("plain", 1, 10_000);
    let before = epoch_millis();
    let first = call(&lambda, json!({})).await.unwrap();
    let second = call(&lambda, json!({})).await.unwrap();
    let after = epoch_millis();

    let header = |report: &Value, name: &str| report["headers"][name].as_str().unwrap().to_owned();
    let id = header(&first, "lambda-runtime-aws-request-id");
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
    assert_ne!(id, header(&second, "lambda-runtime-aws-request-id"));
    let deadline: i64 = header(&first, "lambda-runtime-deadline-ms").parse().unwrap();
    assert!((before + 10_000..=after + 10_000).contains(&deadline), "{deadline}");
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:fake";
    assert_eq!(header(&first, "lambda-runtime-invoked-function-arn"), arn);
    let trace = header(&first, "lambda-runtime-trace-id");
    assert!(trace.starts_with("Root=1-") && trace.ends_with(";Sampled=0") && trace.contains(";Parent="), "{trace}");

    let environment = first["environment"].as_object().unwrap();
    let variable = |name: &str| environment.get(name).and_then(Value::as_str).unwrap_or("absent");
    assert_eq!(variable("AWS_LAMBDA_FUNCTION_NAME"), "fake");
    assert_eq!(variable("AWS_LAMBDA_FUNCTION_VERSION"), "$LATEST");
    assert_eq!(variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), "128");
    assert_eq!(variable("AWS_LAMBDA_LOG_GROUP_NAME"), "/aws/lambda/fake");
    assert!(variable("AWS_LAMBDA_LOG_STREAM_NAME").contains("/[$LATEST]"));
    assert_eq!(variable("TEST_OWN"), "mine");
    assert_eq!(variable("CARGO_MANIFEST_DIR"), "absent", "nothing of the parent's environment leaks");
    assert_eq!(variable("HOME"), "absent", "a person's own settings of AWS do not matter");
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_function_is_killed_and_the_next_invocation_starts_afresh() {
    let (lambda, log) = start("plain", 1, 500);
    let warm = call(&lambda, json!({})).await.unwrap();
    let started = Instant::now();
    let error = call(&lambda, json!({ "do": "sleep", "ms": 20_000 })).await.unwrap_err();
    assert_eq!(error.to_string(), "Task timed out after 0.50 seconds");
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&started.elapsed()));
    log.wait_for("Task timed out after 0.50 seconds").await;
    let fresh = call(&lambda, json!({})).await.unwrap();
    assert_eq!(fresh["served"], 1);
    assert_ne!(fresh["pid"], warm["pid"]);
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_says_how_it_ended_and_the_next_invocation_starts_afresh() {
    let (lambda, _log) = start("small-memory", 1, 10_000);
    for (event, status) in [("exit", "exit status: 7"), ("abort", "signal: 6"), ("allocate", "signal: 6")] {
        let error = call(&lambda, json!({ "do": event })).await.unwrap_err();
        assert!(matches!(&error, InvokeError::Crashed { status: s } if s.starts_with(status)), "{event}: {error}");
        assert_eq!(call(&lambda, json!({})).await.unwrap()["served"], 1);
    }
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_does_not_start_says_why_and_frees_its_place() {
    let missing = FunctionSpec { command: "/no/such/command".into(), ..fake("plain", 1, Duration::from_secs(1)) };
    let cases = [
        (fake("exit-at-init", 1, Duration::from_secs(1)), "exit status: 3"),
        (fake("report-at-init", 1, Duration::from_secs(1)), "TABLE is not set"),
        (missing, "No such file"),
    ];
    for (spec, expected) in cases {
        let lambda = Lambda::start([spec], Log::default().sink());
        for _ in 0..2 {
            let error = call(&lambda, json!({})).await.unwrap_err();
            assert!(matches!(&error, InvokeError::InitFailed { reason } if reason.contains(expected)), "{error}");
        }
        lambda.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invocations_beyond_the_limit_are_throttled_at_once() {
    let (lambda, _log) = start("plain", 2, 10_000);
    let slow = || {
        let lambda = lambda.clone();
        tokio::spawn(async move { call(&lambda, json!({ "do": "sleep", "ms": 700 })).await })
    };
    let running = [slow(), slow()];
    // Both have claimed their place once they have been polled.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(call(&lambda, json!({})).await, Err(InvokeError::Throttled));
    let mut pids = Vec::new();
    for task in running {
        pids.push(task.await.unwrap().unwrap()["pid"].as_u64().unwrap());
    }
    assert_ne!(pids[0], pids[1], "each environment has one invocation at a time");
    let reused = call(&lambda, json!({})).await.unwrap();
    assert!(pids.contains(&reused["pid"].as_u64().unwrap()));
    lambda.stop().await;
    assert_eq!(call(&lambda, json!({})).await, Err(InvokeError::Throttled), "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_wait_for_an_environment_get_it_in_turn() {
    let (lambda, _log) = start("plain", 1, 10_000);
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for number in 0..20_u32 {
        let (lambda, served) = (lambda.clone(), Arc::clone(&served));
        let event = Bytes::from(json!({ "do": "sleep", "ms": 10 }).to_string());
        callers.push(tokio::spawn(async move {
            let patience = Duration::from_secs(10);
            let result = lambda.invoke_within("fake", event, super::new_trace_root(), patience).await;
            lock(&served).push(number);
            result
        }));
        // Each has begun to wait before the next one does.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(*lock(&served), (0..20).collect::<Vec<_>>());
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_large_payloads_are_told_apart_and_the_environment_lives() {
    let (lambda, _log) = start("plain", 1, 10_000);
    let error = call(&lambda, json!({ "do": "fail" })).await.unwrap_err();
    assert!(
        matches!(&error, InvokeError::FunctionError { payload } if payload.starts_with(b"{\"errorType\":\"Boom\""))
    );
    assert_eq!(call(&lambda, json!({ "do": "respond-large" })).await, Err(InvokeError::ResponseTooLarge));
    let large = Bytes::from(vec![b' '; PAYLOAD_BYTES_MAX + 1]);
    let bytes = large.len();
    assert_eq!(lambda.invoke("fake", large).await, Err(InvokeError::RequestTooLarge { bytes }));
    let mut largest = vec![b' '; PAYLOAD_BYTES_MAX - 2];
    largest.extend_from_slice(b"{}");
    let response = lambda.invoke("fake", largest.into()).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&response).unwrap()["served"], 3);
    assert_eq!(call(&lambda, json!({ "do": "wrong-id" })).await.unwrap()["served"], 4);
    let unknown = lambda.invoke("other", Bytes::new()).await;
    assert_eq!(unknown, Err(InvokeError::UnknownFunction("other".to_owned())));
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_takes_a_busy_environment_first() {
    let (lambda, log) = start("plain", 2, 10_000);
    assert!(!lambda.kill_one("fake"), "nothing has been started");
    let (a, b) = tokio::join!(call(&lambda, json!({ "do": "sleep", "ms": 300 })), call(&lambda, json!({})));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a["pid"], b["pid"]);
    log.wait_for("served 1").await;

    let running = tokio::spawn({
        let lambda = lambda.clone();
        async move { call(&lambda, json!({ "do": "sleep", "ms": 10_000 })).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(lambda.kill_one("fake"));
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(&error, InvokeError::Crashed { status } if status.starts_with("signal: 9")), "{error}");
    let left = call(&lambda, json!({})).await.unwrap();
    assert_eq!(left["served"], 2, "the idle one was left alone");
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_crashes_does_so_before_its_work_and_after_it_in_turn() {
    let (lambda, log) = start("plain", 1, 10_000);
    assert_eq!(call(&lambda, json!({})).await.unwrap()["served"], 1);
    log.wait_for("served 1").await;
    assert!(lambda.set_crashing("fake", true) && !lambda.set_crashing("other", true));
    let crashed = |result: Result<Value, InvokeError>| matches!(result, Err(InvokeError::Crashed { .. }));
    assert!(crashed(call(&lambda, json!({ "do": "sleep", "ms": 10_000 })).await), "before its work");
    assert!(crashed(call(&lambda, json!({})).await), "after it");
    assert!(crashed(call(&lambda, json!({ "do": "sleep", "ms": 10_000 })).await), "before its work again");
    lambda.set_crashing("fake", false);
    assert_eq!(call(&lambda, json!({})).await.unwrap()["served"], 1, "in an environment of its own");
    lambda.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_gives_up_does_not_stop_the_function() {
    let (lambda, log) = start("plain", 1, 10_000);
    let event = json!({ "do": "sleep", "ms": 300 });
    assert!(tokio::time::timeout(Duration::from_millis(100), call(&lambda, event)).await.is_err());
    log.wait_for("served 1").await;
    let stopped = Instant::now();
    lambda.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(4), "idle children end when asked");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_last_handle_kills_the_children() {
    let (lambda, _log) = start("plain", 1, 10_000);
    let pid = call(&lambda, json!({})).await.unwrap()["pid"].as_u64().unwrap();
    let alive = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(alive());
    drop(lambda);
    let started = Instant::now();
    while alive() {
        assert!(started.elapsed() < Duration::from_secs(5), "the child outlived its server");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
