//! The Lambda Runtime API (2018-06-01) of one environment: what its child asks for work, and answers to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{StatusCode, header};
use tokio::sync::{Notify, oneshot, watch};

use super::{Collected, PAYLOAD_BYTES_MAX, collect, lock};

/// An event on its way to the child, with what the child is told about it.
pub(super) struct Invocation {
    pub(super) request_id: String,
    /// When the invocation times out, in milliseconds since 1970.
    pub(super) deadline_ms: i64,
    pub(super) function_arn: String,
    /// The whole trace header: `Root=…;Parent=…;Sampled=0`.
    pub(super) trace: String,
    pub(super) payload: Bytes,
}

/// What the child answered to an invocation.
pub(super) enum Answer {
    Response(Bytes),
    Error(Bytes),
    TooLarge,
}

/// Where an environment is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not asked for work yet.
    Starting,
    /// It waits for an invocation.
    Waiting,
    /// It has been given one, and has not asked for the next.
    Busy,
    /// It reported that it cannot start.
    InitFailed(String),
}

#[derive(Default)]
struct Work {
    queued: Option<(Invocation, oneshot::Sender<Answer>)>,
    /// The request id that the child is at, until it answers.
    current: Option<(String, oneshot::Sender<Answer>)>,
}

/// The state behind the API. One invocation at a time is the caller's care.
pub(super) struct RuntimeApi {
    work: Mutex<Work>,
    queued: Notify,
    phase: watch::Sender<Phase>,
}

impl RuntimeApi {
    pub(super) fn new() -> Self {
        Self { work: Mutex::default(), queued: Notify::new(), phase: watch::Sender::new(Phase::Starting) }
    }

    /// Follows the environment's phase.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Gives the child an invocation; the receiver gets its answer, or closes if none can come.
    pub(super) fn give(&self, invocation: Invocation) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let mut work = lock(&self.work);
        work.queued = Some((invocation, reply));
        self.phase.send_replace(Phase::Busy);
        drop(work);
        self.queued.notify_one();
        answer
    }

    /// Takes the queued invocation, or notes that the child waits; an error if it owes an answer.
    fn take(&self) -> Result<Option<Invocation>, Unanswered> {
        let mut work = lock(&self.work);
        if work.current.is_some() {
            return Err(Unanswered);
        }
        let Some((invocation, reply)) = work.queued.take() else {
            self.phase.send_replace(Phase::Waiting);
            return Ok(None);
        };
        work.current = Some((invocation.request_id.clone(), reply));
        Ok(Some(invocation))
    }

    /// Takes the child's answer to the invocation it is at. `false` if it is not at this one.
    fn answer(&self, request_id: &str, answer: Answer) -> bool {
        let Some((_, reply)) = lock(&self.work).current.take_if(|(current, _)| current == request_id) else {
            return false;
        };
        // Whoever waited may have given up: the time-out came first, and the child is being killed.
        let _ = reply.send(answer);
        true
    }

    fn expects(&self, request_id: &str) -> bool {
        lock(&self.work).current.as_ref().is_some_and(|(current, _)| current == request_id)
    }
}

/// The child asked for work without having answered.
struct Unanswered;

/// The routes that a child calls. No call has a deadline of its own: the child is killed at the end of its
/// invocation's time, and its connections end with it.
pub(super) fn router(api: Arc<RuntimeApi>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .with_state(api)
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    // The loop ends with the first invocation; a notification may be left over from one that a broken call took.
    let invocation = loop {
        match api.take() {
            Ok(Some(invocation)) => break invocation,
            Ok(None) => api.queued.notified().await,
            Err(Unanswered) => {
                return refusal(StatusCode::FORBIDDEN, "InvalidStateTransition", "the invocation has no answer yet");
            }
        }
    };
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", invocation.request_id)
        .header("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms)
        .header("Lambda-Runtime-Invoked-Function-Arn", invocation.function_arn)
        .header("Lambda-Runtime-Trace-Id", invocation.trace)
        .body(Body::from(invocation.payload))
        .unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "a header is not valid"))
}

async fn response(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>, body: Body) -> Response {
    if !api.expects(&id) {
        return wrong_id();
    }
    let (answer, reply) = match collect(body, PAYLOAD_BYTES_MAX).await {
        Ok(Collected::Whole(bytes)) => (Answer::Response(bytes), accepted()),
        Ok(Collected::TooLarge) => (Answer::TooLarge, too_large()),
        Err(_) => return broken_body(),
    };
    if api.answer(&id, answer) { reply } else { wrong_id() }
}

async fn error(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>, body: Body) -> Response {
    match collect(body, PAYLOAD_BYTES_MAX).await {
        Ok(Collected::Whole(bytes)) => {
            if api.answer(&id, Answer::Error(bytes)) {
                accepted()
            } else {
                wrong_id()
            }
        }
        Ok(Collected::TooLarge) => too_large(),
        Err(_) => broken_body(),
    }
}

async fn init_error(State(api): State<Arc<RuntimeApi>>, body: Body) -> Response {
    match collect(body, PAYLOAD_BYTES_MAX).await {
        Ok(Collected::Whole(bytes)) => {
            api.phase.send_replace(Phase::InitFailed(String::from_utf8_lossy(&bytes).into_owned()));
            accepted()
        }
        Ok(Collected::TooLarge) => too_large(),
        Err(_) => broken_body(),
    }
}

fn accepted() -> Response {
    json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned())
}

fn wrong_id() -> Response {
    refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}

fn broken_body() -> Response {
    refusal(StatusCode::BAD_REQUEST, "InvalidRequest", "the body could not be read")
}

fn too_large() -> Response {
    let message = format!("Exceeded maximum allowed payload size ({PAYLOAD_BYTES_MAX} bytes).");
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response {
    json(status, serde_json::json!({ "errorType": kind, "errorMessage": message }).to_string())
}

fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
