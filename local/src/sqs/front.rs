//! The HTTP front: AWS JSON 1.0 in and out, body limits, error bodies, and the one place where faults strike.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::actions::perform;
use super::connection::Cut;
use super::error::{Code, Refusal};
use super::limits::{BODY_BYTES_DRAINED_MAX, BODY_BYTES_MAX, BODY_DEADLINE, MESSAGE_BYTES_MAX};
use super::server::Shared;
use super::wire::Action;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

/// Every path is answered alike: clients post to `/`, some to the queue's URL.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.method() == Method::GET {
        return "Holdfast's SQS stand-in. It speaks AWS JSON 1.0; point an AWS SDK's SQS endpoint here.\n"
            .into_response();
    }
    let cut = request.extensions().get::<ConnectInfo<Cut>>().map(|info| info.0.clone());
    let action = action_of(request.headers());
    let body = read_body(request.into_body()).await;
    let (action, body) = match (action, body) {
        (Ok(action), Ok(Some(body))) => (action, body),
        (Ok(action), Ok(None)) => return reply(Err(too_large(action))),
        (Err(refusal), _) | (_, Err(refusal)) => return reply(Err(refusal)),
    };
    let planned = shared.faults.plan_for(action);
    let outcome = match &planned.refusal {
        Some(refusal) => Err(refusal.clone()),
        None => perform(&shared, action, &body, &planned).await,
    };
    if let Some(delay) = planned.delay {
        tokio::time::sleep(delay).await;
    }
    if planned.drop_reply
        && let Some(cut) = cut
    {
        cut.set();
    }
    reply(outcome)
}

fn action_of(headers: &HeaderMap) -> Result<Action, Refusal> {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    Action::of_target(target).ok_or_else(|| match target {
        "AmazonSQS.AddPermission" | "AmazonSQS.RemovePermission" => Refusal::new(
            Code::UnsupportedOperation,
            "Nobody needs a permission here; set the Policy attribute instead.",
        ),
        "" => {
            Refusal::new(Code::InvalidAction, "The X-Amz-Target header is missing; only AWS JSON 1.0 is spoken here.")
        }
        _ => Refusal::new(Code::InvalidAction, format!("The action {target:.100} is not valid for this endpoint.")),
    })
}

/// Reads a body; `None` if it is too large. Such a body is read on and thrown away up to a bound, because a client that
/// is still sending would see its connection break instead of the answer.
async fn read_body(body: Body) -> Result<Option<Bytes>, Refusal> {
    let reading = async {
        let mut body = body;
        let mut read = Vec::new();
        let mut drained = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::new(Code::Serialization, error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if drained > 0 || read.len() + data.len() > BODY_BYTES_MAX {
                drained += read.len() + data.len();
                read = Vec::new();
            } else {
                read.extend_from_slice(&data);
            }
            if drained > BODY_BYTES_DRAINED_MAX {
                break;
            }
        }
        Ok((drained == 0).then(|| Bytes::from(read)))
    };
    let late = |_| Refusal::new(Code::ServiceUnavailable, "The request's body did not arrive in time.");
    tokio::time::timeout(BODY_DEADLINE, reading).await.map_err(late)?
}

fn too_large(action: Action) -> Refusal {
    match action == Action::SendMessageBatch {
        true => Refusal::new(
            Code::BatchRequestTooLong,
            format!("Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes."),
        ),
        false => Refusal::invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {MESSAGE_BYTES_MAX} bytes."
        )),
    }
}

fn reply(outcome: Result<Value, Refusal>) -> Response {
    let (status, query_error, body) = match outcome {
        Ok(body) => (StatusCode::OK, None, body),
        Err(refusal) => {
            let code = refusal.code;
            let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let fault = if code.is_sender_fault() { "Sender" } else { "Receiver" };
            let query_error = format!("{};{fault}", code.query_code());
            (status, Some(query_error), json!({"__type": code.shape(), "message": refusal.message}))
        }
    };
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    let text = |text: String| HeaderValue::try_from(text).expect("codes and ids are visible ASCII");
    headers.insert("x-amzn-requestid", text(Uuid::new_v4().to_string()));
    if let Some(query_error) = query_error {
        headers.insert("x-amzn-query-error", text(query_error));
    }
    response
}
