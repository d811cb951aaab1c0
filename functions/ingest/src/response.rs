//! Answers: the only place where a status code is written.

use std::time::Duration;

use serde_json::json;
use shared::receipt::HEADER;

/// What is answered to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every event is durable; the body that Segment's clients read.
    SegmentAccepted,
    /// Every event is durable; the body that Vero's clients read.
    VeroAccepted,
    /// What a pixel gets, whatever has come of it: an image. With the problem if there was one.
    Pixel(Option<Problem>),
    /// A page of any origin may send the request that it asks about.
    Preflight,
    /// How a source is set up: a JSON object.
    Settings(String),
    /// What has become of events: a JSON object.
    Fates(String),
    /// Vero's API is up.
    Heartbeat,
    /// The function runs.
    Healthy,
    /// The queue takes messages.
    Ready,
    /// Something is wrong.
    Problem(Problem),
}

/// What can be wrong with a request, or with us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The body is empty.
    EmptyBody,
    /// The body cannot be read: not gzip as it claims, not UTF-8, not JSON, or JSON of a wrong shape.
    Malformed(String),
    /// The body is encoded in a way that is not understood.
    UnsupportedEncoding(String),
    /// The body nests deeper than it may.
    NestedTooDeeply,
    /// A batch without items.
    EmptyBatch,
    /// A batch with more items than it may have.
    BatchTooLong {
        /// How many there are.
        items: usize,
    },
    /// What a batch says once for all its items is too large, taken as often as it has items.
    BatchTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is larger than it may be, once inflated.
    RequestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// An event is larger than it may be.
    EventTooLarge {
        /// Its position in the request.
        index: u32,
        /// The limit in bytes.
        limit: usize,
    },
    /// A parameter is missing or wrong (Vero's calls, where nothing of the request can be kept).
    BadParameter(String),
    /// No write key in the request.
    NoWriteKey,
    /// A write key that nobody has.
    UnknownWriteKey,
    /// A webhook of a source that has a secret, without a signature made with it.
    BadSignature,
    /// No such path.
    NotFound,
    /// The path takes other methods.
    MethodNotAllowed {
        /// The methods that it takes, for the `Allow` header.
        allow: &'static str,
    },
    /// A part behind us does not take what we must hand on. Made by [`Problem::unavailable`].
    Unavailable {
        /// After how many seconds it may, at least 1: how long we leave it alone ourselves.
        retry_after: u64,
    },
    /// A bug of ours.
    Internal,
}

impl Problem {
    /// A part behind us is away, and is tried again only after some time.
    #[must_use]
    pub fn unavailable(left: Duration) -> Self {
        Problem::Unavailable { retry_after: left.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX) }
    }

    /// The status. What a retry can cure is 503; what it cannot is 4xx.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Problem::EmptyBody
            | Problem::Malformed(_)
            | Problem::UnsupportedEncoding(_)
            | Problem::NestedTooDeeply
            | Problem::EmptyBatch
            | Problem::BatchTooLong { .. }
            | Problem::BadParameter(_) => 400,
            Problem::NoWriteKey | Problem::UnknownWriteKey | Problem::BadSignature => 401,
            Problem::NotFound => 404,
            Problem::MethodNotAllowed { .. } => 405,
            Problem::BatchTooLarge { .. } | Problem::RequestTooLarge { .. } | Problem::EventTooLarge { .. } => 413,
            Problem::Internal => 500,
            Problem::Unavailable { .. } => 503,
        }
    }

    /// The permanent tag.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Problem::EmptyBody => "empty_body",
            Problem::Malformed(_) => "invalid_request",
            Problem::UnsupportedEncoding(_) => "unsupported_encoding",
            Problem::NestedTooDeeply => "nested_too_deeply",
            Problem::EmptyBatch => "empty_batch",
            Problem::BatchTooLong { .. } => "batch_too_long",
            Problem::BatchTooLarge { .. } => "batch_too_large",
            Problem::RequestTooLarge { .. } => "request_too_large",
            Problem::EventTooLarge { .. } => "event_too_large",
            Problem::BadParameter(_) => "bad_parameter",
            Problem::NoWriteKey => "no_write_key",
            Problem::UnknownWriteKey => "unknown_write_key",
            Problem::BadSignature => "bad_signature",
            Problem::NotFound => "not_found",
            Problem::MethodNotAllowed { .. } => "method_not_allowed",
            Problem::Unavailable { .. } => "unavailable",
            Problem::Internal => "internal_error",
        }
    }

    /// Headers that the status calls for.
    fn headers(&self) -> Vec<(&'static str, String)> {
        if let Problem::MethodNotAllowed { allow } = self {
            vec![("Allow", (*allow).to_owned())]
        } else if let Problem::Unavailable { retry_after } = self {
            // A page of another origin sees of the headers only those that are named here.
            vec![("Retry-After", retry_after.to_string()), (EXPOSED, "Retry-After".to_owned())]
        } else {
            vec![]
        }
    }

    /// A sentence for the producer. It says nothing of our inside.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Problem::EmptyBody => "The request has no body.".to_owned(),
            Problem::Malformed(what) => format!("The request cannot be read: {what}."),
            Problem::UnsupportedEncoding(encoding) => {
                format!("Content-Encoding {encoding:?} is not understood; use gzip or none.")
            }
            Problem::NestedTooDeeply => {
                format!("The body nests deeper than {} levels.", shared::limits::NESTING_DEPTH_MAX)
            }
            Problem::EmptyBatch => "The batch is empty.".to_owned(),
            Problem::BatchTooLong { items } => {
                format!("The batch has {items} items; at most {} are taken.", shared::limits::BATCH_EVENTS_MAX)
            }
            Problem::BatchTooLarge { limit } => {
                format!("What the batch says for all its items is larger than {limit} bytes, once for each.")
            }
            Problem::RequestTooLarge { limit } => format!("The body is larger than {limit} bytes (inflated)."),
            Problem::EventTooLarge { index, limit } => format!("Event {index} is larger than {limit} bytes."),
            Problem::BadParameter(what) => format!("Bad request: {what}."),
            Problem::NoWriteKey => "Your credentials are missing.".to_owned(),
            Problem::UnknownWriteKey => "Your credentials are invalid.".to_owned(),
            Problem::BadSignature => "X-Signature is not the signature of this body.".to_owned(),
            Problem::NotFound => "There is nothing at this path.".to_owned(),
            Problem::MethodNotAllowed { allow } => format!("This path takes {allow}."),
            Problem::Unavailable { .. } => "The request could not be made durable; send it again.".to_owned(),
            Problem::Internal => "An error of the server.".to_owned(),
        }
    }
}

/// The header that names those headers of an answer that a page of another origin may see.
const EXPOSED: &str = "Access-Control-Expose-Headers";
/// What a page of another origin may do: everything that any of our paths takes.
const PREFLIGHT_HEADERS: [(&str, &str); 3] = [
    ("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Encoding, Content-Type, X-Retry-Count"),
    // Two hours is the longest that Chrome remembers it.
    ("Access-Control-Max-Age", "7200"),
];
/// A pixel that were cached would be seen only once.
const NO_STORE: (&str, &str) = ("Cache-Control", "no-store, no-cache, must-revalidate, max-age=0");

/// An image of one transparent pixel: header, palette of two colors of which the first is declared transparent, and one
/// pixel of it.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\
    \x21\xf9\x04\x01\x00\x00\x00\x00\
    \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// A status, headers and a body, of no framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The other headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// What is wrong, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Answer::Problem(problem) | Answer::Pixel(Some(problem)) => Some(problem),
            Answer::SegmentAccepted
            | Answer::VeroAccepted
            | Answer::Pixel(None)
            | Answer::Preflight
            | Answer::Settings(_)
            | Answer::Fates(_)
            | Answer::Heartbeat
            | Answer::Healthy
            | Answer::Ready => None,
        }
    }

    /// The answer as it goes out.
    ///
    /// Success is exactly 200, since several clients send again on any other 2xx. Each protocol's success body is to
    /// the byte the one that its clients read; every error carries what the clients of either read. Pages of any origin
    /// may read all of it.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let mut reply = match self {
            Answer::SegmentAccepted => ok(r#"{"success":true}"#),
            Answer::VeroAccepted => ok(r#"{"status":200,"message":"Success."}"#),
            Answer::Pixel(problem) => pixel(problem.as_ref()),
            Answer::Preflight => {
                let headers = PREFLIGHT_HEADERS.map(|(name, value)| (name, value.to_owned())).to_vec();
                Reply { headers, ..ok(r#"{"status":200,"message":"Pages of any origin may call this."}"#) }
            }
            Answer::Settings(json) | Answer::Fates(json) => ok(json),
            Answer::Heartbeat => ok(r#"{"status":200,"message":"Vero api is up"}"#),
            Answer::Healthy => ok(r#"{"status":200,"message":"Holdfast is up."}"#),
            Answer::Ready => ok(r#"{"status":200,"message":"Events are taken."}"#),
            Answer::Problem(problem) => {
                let status = problem.status();
                let body = json!({
                    "success": false, "status": status, "code": problem.code(), "message": problem.message(),
                });
                Reply { status, headers: problem.headers(), ..ok(&body.to_string()) }
            }
        };
        reply.headers.push(("Access-Control-Allow-Origin", "*".to_owned()));
        reply
    }
}

impl Reply {
    /// The answer to a request that was accepted, with the id of its receipt. It is a header only: the bodies are to the
    /// byte those that clients read.
    #[must_use]
    pub fn with_receipt(mut self, id: &str) -> Self {
        self.headers.push((HEADER, id.to_owned()));
        self.headers.push((EXPOSED, HEADER.to_owned()));
        self
    }
}

fn ok(json: &str) -> Reply {
    Reply { status: 200, content_type: "application/json", headers: vec![], body: json.as_bytes().to_vec() }
}

/// The image. Of what can never be kept nobody behind a pixel could make use, so it is 200 as with Segment; but what a
/// retry can cure is said as everywhere.
fn pixel(problem: Option<&Problem>) -> Reply {
    let trouble = problem.filter(|problem| problem.status() >= 500);
    let status = trouble.map_or(200, Problem::status);
    let mut headers = trouble.map(Problem::headers).unwrap_or_default();
    headers.push((NO_STORE.0, NO_STORE.1.to_owned()));
    Reply { status, content_type: "image/gif", headers, body: GIF.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_bodies_are_to_the_byte_what_clients_read() {
        for (answer, body) in [
            (Answer::SegmentAccepted, r#"{"success":true}"#),
            (Answer::VeroAccepted, r#"{"status":200,"message":"Success."}"#),
            (Answer::Heartbeat, r#"{"status":200,"message":"Vero api is up"}"#),
        ] {
            let reply = answer.reply();
            assert_eq!((reply.status, reply.content_type), (200, "application/json"));
            assert_eq!(String::from_utf8(reply.body).unwrap(), body);
        }
        assert_eq!(Answer::VeroAccepted.reply().body.len(), 35);
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_pixel_is_an_image_and_says_only_what_a_retry_can_cure() {
        for (problem, status, retry_after) in [
            (None, 200, None),
            (Some(Problem::UnknownWriteKey), 200, None),
            (Some(Problem::Malformed("why".into())), 200, None),
            (Some(Problem::Internal), 500, None),
            (Some(Problem::unavailable(Duration::from_millis(4_001))), 503, Some("5")),
        ] {
            let reply = Answer::Pixel(problem).reply();
            assert_eq!((reply.status, reply.content_type), (status, "image/gif"));
            assert_eq!(header(&reply, "Retry-After"), retry_after);
            assert!(header(&reply, "Cache-Control").unwrap().starts_with("no-store"));
            assert_eq!((reply.body.len(), &reply.body[..6], reply.body[42]), (43, &b"GIF89a"[..], b';'));
        }
    }

    #[test]
    fn a_page_of_any_origin_may_read_every_answer() {
        let answers = [
            Answer::SegmentAccepted,
            Answer::VeroAccepted,
            Answer::Pixel(None),
            Answer::Preflight,
            Answer::Settings("{}".into()),
            Answer::Fates("{}".into()),
            Answer::Heartbeat,
            Answer::Healthy,
            Answer::Ready,
            Answer::Problem(Problem::NotFound),
            Answer::Problem(Problem::unavailable(Duration::ZERO)),
        ];
        for answer in answers {
            let reply = answer.reply();
            assert_eq!(header(&reply, "Access-Control-Allow-Origin"), Some("*"), "{answer:?}");
            let exposed = header(&reply, "Access-Control-Expose-Headers");
            assert_eq!(exposed, header(&reply, "Retry-After").map(|_| "Retry-After"), "{answer:?}");
        }
        let accepted = Answer::SegmentAccepted.reply().with_receipt("id");
        assert_eq!(header(&accepted, HEADER), Some("id"));
        assert_eq!(header(&accepted, "Access-Control-Expose-Headers"), Some(HEADER));
        let preflight = Answer::Preflight.reply();
        let headers = header(&preflight, "Access-Control-Allow-Headers").unwrap();
        let methods = header(&preflight, "Access-Control-Allow-Methods").unwrap();
        for name in ["Authorization", "Content-Type", "X-Retry-Count"] {
            assert!(headers.split(", ").any(|known| known == name), "{name}");
        }
        for (_, allow, _) in crate::route::ROUTES {
            assert!(allow.split(", ").all(|method| methods.split(", ").any(|known| known == method)), "{allow}");
        }
    }

    #[test]
    fn every_error_has_what_the_clients_of_either_protocol_read() {
        let problems = [
            (Problem::EmptyBody, 400, "empty_body"),
            (Problem::Malformed("why".into()), 400, "invalid_request"),
            (Problem::UnsupportedEncoding("br".into()), 400, "unsupported_encoding"),
            (Problem::NestedTooDeeply, 400, "nested_too_deeply"),
            (Problem::EmptyBatch, 400, "empty_batch"),
            (Problem::BatchTooLong { items: 2501 }, 400, "batch_too_long"),
            (Problem::BadParameter("id".into()), 400, "bad_parameter"),
            (Problem::NoWriteKey, 401, "no_write_key"),
            (Problem::UnknownWriteKey, 401, "unknown_write_key"),
            (Problem::BadSignature, 401, "bad_signature"),
            (Problem::NotFound, 404, "not_found"),
            (Problem::MethodNotAllowed { allow: "POST" }, 405, "method_not_allowed"),
            (Problem::BatchTooLarge { limit: 7 }, 413, "batch_too_large"),
            (Problem::RequestTooLarge { limit: 7 }, 413, "request_too_large"),
            (Problem::EventTooLarge { index: 3, limit: 7 }, 413, "event_too_large"),
            (Problem::Internal, 500, "internal_error"),
            (Problem::unavailable(Duration::ZERO), 503, "unavailable"),
        ];
        for (problem, status, code) in problems {
            let reply = Answer::Problem(problem.clone()).reply();
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!((reply.status, &body["status"], &body["code"]), (status, &json!(status), &json!(code)));
            assert_eq!(body["success"], json!(false));
            assert!(!body["message"].as_str().unwrap().is_empty());
            let retry_after = reply.headers.iter().any(|(name, _)| *name == "Retry-After");
            assert_eq!(retry_after, matches!(status, 429 | 503), "{code}: Retry-After exactly where a retry can help");
        }
    }
}
