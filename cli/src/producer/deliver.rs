//! Delivering a call: again for as long as that can help.

use std::time::Duration;

use super::call::Call;
use crate::http::{Answer, Http};

/// How often a call is tried.
pub const TRIES: u32 = 6;
/// The pause before the second try, where the server asks for none; it doubles each time.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It was answered 200: its events are durable.
    Accepted,
    /// It can never be accepted as it is.
    Refused {
        /// The status.
        status: u16,
        /// What the answer says.
        message: String,
    },
    /// It was not accepted, or that is not known, after all tries.
    Failed {
        /// What the last try came to.
        message: String,
    },
}

/// Sends a call, and sends it again after whatever sending again can cure. `again` is called before each try but
/// the first.
pub async fn deliver(http: &Http, call: &Call, mut again: impl FnMut()) -> Delivered {
    let mut message = String::new();
    for attempt in 0..TRIES {
        let headers = [("Authorization", call.authorization.as_str())];
        let headers = if call.authorization.is_empty() { &[] } else { &headers[..] };
        let mut pause = (PAUSE * 2_u32.pow(attempt)).min(PAUSE_MAX);
        match http.post(&call.path, headers, call.body.clone()).await {
            Ok(answer) if answer.status == 200 => return Delivered::Accepted,
            Ok(answer) if is_final(answer.status) => {
                return Delivered::Refused { status: answer.status, message: text(&answer) };
            }
            Ok(answer) => {
                message = format!("{} {}", answer.status, text(&answer));
                pause = answer.retry_after.map_or(pause, |wanted| wanted.min(PAUSE_MAX));
            }
            Err(error) => message = error.to_string(),
        }
        if attempt + 1 < TRIES {
            again();
            tokio::time::sleep(pause).await;
        }
    }
    Delivered::Failed { message }
}

/// Whether sending the same again cannot help.
fn is_final(status: u16) -> bool {
    status < 500 && status != 429 && status != 408
}

/// What an answer says, in one line.
fn text(answer: &Answer) -> String {
    let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let part = |name: &str| body.as_ref().and_then(|body| body.get(name)).and_then(|part| part.as_str());
    match (part("code"), part("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => String::from_utf8_lossy(&answer.body).chars().take(200).collect::<String>().replace('\n', " "),
    }
}
