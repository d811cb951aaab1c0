//! Whether an answer is honest: that what is acknowledged is durable, and that the status is the one that the request
//! deserves.

use std::time::Duration;

use ingest::response::Reply;
use serde_json::Value;

use super::Promise;
use super::calls::{Due, Request};
use super::scenario::Service;
use super::world::Env;

/// For how long the trouble that a service gave an environment may still be the reason of an answer: the longest pause of
/// a circuit breaker (30 s), and the longest request.
const TROUBLE_LASTS: Duration = Duration::from_secs(40);

/// Judges an answer at the moment at which it goes out.
pub(crate) fn judge_answer(env: &Env, request: &Request, receipt: &str, reply: &Reply) {
    let world = &env.world;
    let status = reply.status;
    if let Some(attempt) = world.notes().attempts.get_mut(receipt) {
        attempt.status = Some(status);
    }
    let what = match status {
        200 => "answered 200",
        400 => "answered 400",
        401 => "answered 401",
        413 => "answered 413",
        503 => "answered 503",
        _ => "answered otherwise",
    };
    world.note(what, || receipt.to_owned());
    let since = world.elapsed().saturating_sub(TROUBLE_LASTS);
    let queue_trouble = env.was_troubled_by(Service::Queue, since);
    let table_trouble = env.was_troubled_by(Service::Table, since);
    if status == 200 {
        let notes = world.notes();
        let lacking: Vec<String> = (0..request.said.len())
            .map(|index| format!("{receipt}.{index}"))
            .filter(|origin| !notes.durable.contains(origin))
            .collect();
        drop(notes);
        if !lacking.is_empty() {
            world.violated(Promise::P1, &format!("{lacking:?} were answered 200 and are not durable"));
        }
    }
    let both = queue_trouble && table_trouble;
    let honest = match (request.due, status) {
        (Due::Accepted, 200) | (Due::UnknownKey, 401) => true,
        (Due::UnknownKey, 200) => table_trouble,
        (Due::Accepted | Due::UnknownKey, 503) => both,
        // The key may be looked at before the rest of the request.
        (Due::Refused(due), status) => status == due,
        _ => false,
    };
    if !honest {
        let promise = if status == 503 { Promise::P6 } else { Promise::P7 };
        let trouble = format!("trouble with the queue {queue_trouble}, with the tables {table_trouble}");
        world.violated(promise, &format!("{receipt} deserves {:?} and is answered {status}; {trouble}", request.due));
    }
    judge_form(env, receipt, reply);
}

/// Every answer is JSON; what a retry can cure says when, and every error says what.
fn judge_form(env: &Env, receipt: &str, reply: &Reply) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let retry_after = reply.headers.iter().find(|(name, _)| *name == "Retry-After").map(|(_, value)| value.as_str());
    let has_time = retry_after.and_then(|value| value.parse::<u64>().ok()).is_some_and(|seconds| seconds > 0);
    let has_form = match reply.status {
        200 => body.is_object(),
        _ => body.get("code").is_some_and(Value::is_string) && body.get("message").is_some_and(Value::is_string),
    };
    if !has_form || has_time != (reply.status == 503) {
        let text = String::from_utf8_lossy(&reply.body);
        env.world
            .violated(Promise::P7, &format!("{receipt} is answered {} with {retry_after:?} and {text}", reply.status));
    }
}
