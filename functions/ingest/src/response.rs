//! Answers: the only place where a status code is written.

use serde_json::json;

/// What is answered to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every event is durable; the body that Segment's clients read.
    SegmentAccepted,
    /// Every event is durable; the body that Vero's clients read.
    VeroAccepted,
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
    /// No such path.
    NotFound,
    /// The path takes other methods.
    MethodNotAllowed {
        /// The methods that it takes, for the `Allow` header.
        allow: &'static str,
    },
    /// A part behind us does not take what we must hand on.
    Unavailable,
    /// A bug of ours.
    Internal,
}

/// How long a producer is asked to wait before it sends a refused request again. Old client libraries give up within
/// seconds, so it is short.
const RETRY_AFTER_SECONDS: &str = "1";

impl Problem {
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
            Problem::NoWriteKey | Problem::UnknownWriteKey => 401,
            Problem::NotFound => 404,
            Problem::MethodNotAllowed { .. } => 405,
            Problem::RequestTooLarge { .. } | Problem::EventTooLarge { .. } => 413,
            Problem::Internal => 500,
            Problem::Unavailable => 503,
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
            Problem::RequestTooLarge { .. } => "request_too_large",
            Problem::EventTooLarge { .. } => "event_too_large",
            Problem::BadParameter(_) => "bad_parameter",
            Problem::NoWriteKey => "no_write_key",
            Problem::UnknownWriteKey => "unknown_write_key",
            Problem::NotFound => "not_found",
            Problem::MethodNotAllowed { .. } => "method_not_allowed",
            Problem::Unavailable => "unavailable",
            Problem::Internal => "internal_error",
        }
    }

    /// Headers that the status calls for.
    fn headers(&self) -> Vec<(&'static str, String)> {
        if let Problem::MethodNotAllowed { allow } = self {
            vec![("Allow", (*allow).to_owned())]
        } else if self.status() == 503 {
            vec![("Retry-After", RETRY_AFTER_SECONDS.to_owned())]
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
            Problem::RequestTooLarge { limit } => format!("The body is larger than {limit} bytes (inflated)."),
            Problem::EventTooLarge { index, limit } => format!("Event {index} is larger than {limit} bytes."),
            Problem::BadParameter(what) => format!("Bad request: {what}."),
            Problem::NoWriteKey => "Your credentials are missing.".to_owned(),
            Problem::UnknownWriteKey => "Your credentials are invalid.".to_owned(),
            Problem::NotFound => "There is nothing at this path.".to_owned(),
            Problem::MethodNotAllowed { allow } => format!("This path takes {allow}."),
            Problem::Unavailable => "The request could not be made durable; send it again.".to_owned(),
            Problem::Internal => "An error of the server.".to_owned(),
        }
    }
}

/// A status, headers and a body, of no framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers besides `Content-Type`, which is always `application/json`.
    pub headers: Vec<(&'static str, String)>,
    /// The body: JSON.
    pub body: String,
}

impl Answer {
    /// The answer as it goes out.
    ///
    /// Success is exactly 200, since several clients send again on any other 2xx. Each protocol's success body is to
    /// the byte the one that its clients read; every error carries what the clients of either read.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let ok = |body: &str| Reply { status: 200, headers: vec![], body: body.to_owned() };
        match self {
            Answer::SegmentAccepted => ok(r#"{"success":true}"#),
            Answer::VeroAccepted => ok(r#"{"status":200,"message":"Success."}"#),
            Answer::Healthy => ok(r#"{"status":200,"message":"Holdfast is up."}"#),
            Answer::Ready => ok(r#"{"status":200,"message":"Events are taken."}"#),
            Answer::Problem(problem) => {
                let status = problem.status();
                let headers = problem.headers();
                let body = json!({
                    "success": false, "status": status, "code": problem.code(), "message": problem.message(),
                });
                Reply { status, headers, body: body.to_string() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_bodies_are_to_the_byte_what_clients_read() {
        assert_eq!(Answer::SegmentAccepted.reply().body, r#"{"success":true}"#);
        let vero = Answer::VeroAccepted.reply();
        assert_eq!((vero.status, vero.body.len()), (200, 35));
        assert_eq!(vero.body, r#"{"status":200,"message":"Success."}"#);
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
            (Problem::NotFound, 404, "not_found"),
            (Problem::MethodNotAllowed { allow: "POST" }, 405, "method_not_allowed"),
            (Problem::RequestTooLarge { limit: 7 }, 413, "request_too_large"),
            (Problem::EventTooLarge { index: 3, limit: 7 }, 413, "event_too_large"),
            (Problem::Internal, 500, "internal_error"),
            (Problem::Unavailable, 503, "unavailable"),
        ];
        for (problem, status, code) in problems {
            let reply = Answer::Problem(problem.clone()).reply();
            let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!((reply.status, &body["status"], &body["code"]), (status, &json!(status), &json!(code)));
            assert_eq!(body["success"], json!(false));
            assert!(!body["message"].as_str().unwrap().is_empty());
            let retry_after = reply.headers.iter().any(|(name, _)| *name == "Retry-After");
            assert_eq!(retry_after, matches!(status, 429 | 503), "{code}: Retry-After exactly where a retry can help");
        }
    }
}
