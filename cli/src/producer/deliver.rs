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
    Accepted {
        /// The id of the receipt, if there was one.
        receipt: Option<String>,
    },
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
            Ok(answer) if answer.status == 200 => return Delivered::Accepted { receipt: answer.receipt },
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::producer::{Protocol, single};

    /// Answers one request after the other with these statuses, each asking to be tried again at once.
    async fn server(statuses: &'static [u16]) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for status in statuses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                }
                let body = r#"{"code":"c","message":"m"}"#;
                let head = format!(
                    "HTTP/1.1 {status} X\r\nX-Holdfast-Receipt: r1\r\nRetry-After: 0\r\nConnection: close\r\nContent-Length: {}",
                    body.len()
                );
                stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
            }
        });
        Http::new(&format!("http://{address}")).unwrap()
    }

    async fn delivered(statuses: &'static [u16]) -> (Delivered, u32) {
        let call = single(Protocol::Segment, "", "dev", "{}", "m1").unwrap();
        let mut again = 0;
        (deliver(&server(statuses).await, &call, || again += 1).await, again)
    }

    #[tokio::test]
    async fn what_sending_again_can_cure_is_sent_again() {
        assert_eq!(delivered(&[503, 429, 500, 200]).await, (Delivered::Accepted { receipt: Some("r1".into()) }, 3));
        let failed = Delivered::Failed { message: "503 c: m".into() };
        assert_eq!(delivered(&[503; TRIES as usize]).await, (failed, TRIES - 1));
    }

    #[tokio::test]
    async fn what_it_cannot_is_not() {
        for statuses in [&[400], &[401], &[404], &[413]] {
            let refused = Delivered::Refused { status: statuses[0], message: "c: m".into() };
            assert_eq!(delivered(statuses).await, (refused, 0));
        }
    }
}
