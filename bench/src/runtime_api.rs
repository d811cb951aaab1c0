//! The Lambda Runtime API (2018-06-01) of one environment, with one invocation at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use shared::clock::{Clock, SystemClock};
use shared::limits::LAMBDA_PAYLOAD_BYTES_MAX;
use tokio::sync::{Notify, oneshot, watch};

/// The time-out that a function is told of.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What came back from an invocation.
#[derive(Debug)]
pub struct Answer {
    /// The body of the response.
    pub body: Bytes,
    /// From the hand-over of the event to the last byte of the response.
    pub took: Duration,
}

/// Where the answer goes, or the error in its place.
type Reply = oneshot::Sender<Result<Answer, String>>;

struct Invocation {
    id: u64,
    payload: Bytes,
    reply: Reply,
}

#[derive(Default)]
struct Work {
    invocations: u64,
    queued: Option<Invocation>,
    current: Option<(u64, Instant, Reply)>,
}

/// The state behind the API.
#[derive(Default)]
pub struct RuntimeApi {
    work: Mutex<Work>,
    queued: Notify,
    /// Whether the environment waits for work.
    waiting: watch::Sender<bool>,
}

impl RuntimeApi {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the environment asks for work.
    ///
    /// # Errors
    /// It did not within `limit`.
    pub async fn idle(&self, limit: Duration) -> anyhow::Result<()> {
        let mut waiting = self.waiting.subscribe();
        let asked = tokio::time::timeout(limit, waiting.wait_for(|waiting| *waiting)).await;
        asked.with_context(|| format!("it did not ask for work within {} s", limit.as_secs()))??;
        Ok(())
    }

    /// Gives an event to the environment, which must wait for it, and waits for what it answers.
    ///
    /// # Errors
    /// It answered with an error, or not within `limit`.
    pub async fn invoke(&self, payload: Bytes, limit: Duration) -> anyhow::Result<Answer> {
        let (reply, answer) = oneshot::channel();
        self.waiting.send_replace(false);
        {
            let mut work = self.work();
            work.invocations += 1;
            work.queued = Some(Invocation { id: work.invocations, payload, reply });
        }
        self.queued.notify_one();
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => bail!("it answered with an error: {error}"),
            Ok(Err(_)) => bail!("it was given another event before it answered"),
            Err(_) => bail!("it did not answer within {} s", limit.as_secs()),
        }
    }

    fn finish(&self, id: &str, body: Result<Bytes, String>) -> StatusCode {
        let Some((_, began, reply)) = self.work().current.take_if(|(current, ..)| current.to_string() == id) else {
            return StatusCode::BAD_REQUEST;
        };
        // Whoever waited may have given up.
        let _ = reply.send(body.map(|body| Answer { body, took: began.elapsed() }));
        StatusCode::ACCEPTED
    }
}

/// The routes that an environment calls.
pub fn router(api: Arc<RuntimeApi>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .with_state(api)
}

/// It waits as long as the environment lives, which the caller bounds.
async fn next(State(api): State<Arc<RuntimeApi>>) -> Result<Response, StatusCode> {
    let Invocation { id, payload, reply } = loop {
        let queued = api.work().queued.take();
        match queued {
            Some(invocation) => break invocation,
            None => {
                api.waiting.send_replace(true);
                api.queued.notified().await;
            }
        }
    };
    let deadline = SystemClock.now().plus(TIMEOUT).as_millis();
    api.work().current = Some((id, Instant::now(), reply));
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", deadline)
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:bench")
        .header("lambda-runtime-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")
        .body(Body::from(payload))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn response(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>, body: Body) -> StatusCode {
    match to_bytes(body, LAMBDA_PAYLOAD_BYTES_MAX).await {
        Ok(body) => api.finish(&id, Ok(body)),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

async fn error(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>, body: Body) -> StatusCode {
    let body = to_bytes(body, LAMBDA_PAYLOAD_BYTES_MAX).await.unwrap_or_default();
    api.finish(&id, Err(String::from_utf8_lossy(&body).into_owned()))
}

/// Its reason is in the log of the environment, which then ends.
async fn init_error() -> StatusCode {
    StatusCode::ACCEPTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_invocation_is_given_out_and_its_answer_comes_back() {
        let api = Arc::new(RuntimeApi::default());
        let given = tokio::spawn({
            let api = Arc::clone(&api);
            async move {
                api.idle(TIMEOUT).await.unwrap();
                api.invoke(Bytes::from("event"), TIMEOUT).await
            }
        });
        let event = next(State(Arc::clone(&api))).await.unwrap();
        assert_eq!(event.headers()["lambda-runtime-aws-request-id"], "1");
        assert_eq!(to_bytes(event.into_body(), 10).await.unwrap(), "event");
        let id = |id: &str| Path(id.to_owned());
        assert_eq!(response(State(Arc::clone(&api)), id("2"), Body::empty()).await, StatusCode::BAD_REQUEST);
        assert_eq!(response(State(Arc::clone(&api)), id("1"), Body::from("done")).await, StatusCode::ACCEPTED);
        assert_eq!(given.await.unwrap().unwrap().body, "done");
    }

    #[tokio::test]
    async fn an_error_is_told() {
        let api = Arc::new(RuntimeApi::default());
        let answers = async {
            next(State(Arc::clone(&api))).await.unwrap();
            error(State(Arc::clone(&api)), Path("1".to_owned()), Body::from("no queue")).await
        };
        let (answer, status) = tokio::join!(api.invoke(Bytes::new(), TIMEOUT), answers);
        assert_eq!(status, StatusCode::ACCEPTED);
        assert!(answer.unwrap_err().to_string().contains("no queue"));
    }
}
