//! The way of a request from bytes to an answer: read, understand, check the key, enqueue, answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::clock::{Clock, Timestamp};
use shared::limits::MESSAGE_BYTES_TARGET;
use shared::message::{Message, VERSION};
use shared::telemetry::{count, metric};

use crate::auth::{KeyLookup, Keys, Owner, from_header, from_query};
use crate::config::Config;
use crate::pack::pack;
use crate::parsed::{Arrival, Parsed};
use crate::queue::{Entry, EventQueue, enqueue};
use crate::response::{Answer, Problem};
use crate::route::{Route, route};
use crate::{body, segment, vero};

/// A request, of no framework.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `POST`, `GET`, ….
    pub method: String,
    /// The path as it was sent, without the query.
    pub path: String,
    /// The query as it was sent, without the question mark.
    pub query: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Content-Encoding` header.
    pub content_encoding: Option<String>,
    /// The body, out of base64.
    pub body: Vec<u8>,
}

/// What is known of a request when it has been answered: the fields of its log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The receipt; empty where the request came to no events.
    pub receipt: String,
    /// The project; empty where the key was not found.
    pub project: String,
    /// Events that were understood.
    pub events: usize,
    /// Items that can never be stored.
    pub refused: usize,
}

/// For how long a request may take: the least patient common client (Segment's webhooks, Analytics.NET) waits 5 s.
const ANSWER_WITHIN: Duration = Duration::from_millis(4_000);
/// For how long an answer to `/ready` stands, so that asking often costs nothing.
const READY_FRESH: Duration = Duration::from_secs(5);

/// The function, with its ports.
pub struct Ingest<L, Q> {
    config: Config,
    keys: Keys<L>,
    queue: Q,
    clock: Arc<dyn Clock>,
    ready: Mutex<Option<(bool, Timestamp)>>,
}

impl<L: KeyLookup, Q: EventQueue> Ingest<L, Q> {
    /// Puts the function together.
    pub fn new(config: Config, lookup: L, queue: Q, clock: Arc<dyn Clock>) -> Self {
        Self { config, keys: Keys::new(lookup), queue, clock, ready: Mutex::new(None) }
    }

    /// Answers a request. `receipt` must be unique to it.
    ///
    /// An accepting answer is given only after the queue has confirmed every event and refused item of the request.
    pub async fn answer(&self, call: &Call, receipt: &str) -> (Answer, Account) {
        let mut account = Account::default();
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.answer_in_time(call, receipt, &mut account)).await;
        let answer = answer.unwrap_or(Err(Problem::Unavailable)).unwrap_or_else(Answer::Problem);
        if let Answer::Problem(problem) = &answer {
            let failed = problem.status() >= 500;
            count(if failed { metric::REQUESTS_FAILED } else { metric::REQUESTS_REFUSED }, 1);
        }
        (answer, account)
    }

    async fn answer_in_time(&self, call: &Call, receipt: &str, account: &mut Account) -> Result<Answer, Problem> {
        let route = route(&call.method, &call.path)?;
        if route == Route::Health {
            return Ok(Answer::Healthy);
        }
        if route == Route::Ready {
            return self.ready(receipt).await;
        }
        let received_at = self.clock.now();
        let arrival = Arrival { received_at, receipt, event_bytes_max: self.config.event_bytes_max };
        // The one place where what strangers wrote is parsed: a bug there must cost that request only.
        let parsed = catch_unwind(AssertUnwindSafe(|| self.parse(route, call, &arrival)));
        let mut parsed = parsed.unwrap_or(Err(Problem::Internal))?;
        account.events = parsed.events.len();
        account.refused = parsed.refused.len();
        let key = write_key(route, call, parsed.write_key.take()).ok_or(Problem::NoWriteKey)?;
        let owner = self.keys.owner(&key, self.clock.as_ref()).await?;
        account.project.clone_from(&owner.project);
        receipt.clone_into(&mut account.receipt);
        count(metric::EVENTS_RECEIVED, (account.events + account.refused) as u64);
        let envelope = envelope(owner, receipt, received_at);
        for refused in &parsed.refused {
            tracing::warn!(
                receipt,
                project = envelope.project,
                index = refused.index,
                reason = refused.reason,
                "item refused"
            );
        }
        self.enqueue(pack(&envelope, parsed.events, parsed.refused, MESSAGE_BYTES_TARGET)).await?;
        count(metric::EVENTS_ACCEPTED, account.events as u64);
        count(metric::EVENTS_REFUSED, account.refused as u64);
        Ok(if matches!(route, Route::Vero(_)) { Answer::VeroAccepted } else { Answer::SegmentAccepted })
    }

    fn parse(&self, route: Route, call: &Call, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
        let text = body::read(&call.body, call.content_encoding.as_deref(), self.config.request_bytes_max)?;
        match route {
            Route::Segment(segment_call) => segment::parse(segment_call, &text, arrival),
            Route::Vero(vero_call) => vero::parse(vero_call, &text, arrival),
            Route::Health | Route::Ready => Err(Problem::Internal),
        }
    }

    /// Proves that the queue takes messages by sending it one without events, which `consume` settles and forgets.
    async fn ready(&self, receipt: &str) -> Result<Answer, Problem> {
        let now = self.clock.now();
        let known = *self.ready.lock().expect("nothing panics while it holds the answer");
        let ready = match known {
            Some((ready, asked_at)) if now >= asked_at && now.since(asked_at) < READY_FRESH => ready,
            _ => {
                let owner = Owner { project: "probe".to_owned(), source: "ready".to_owned() };
                let message = envelope(owner, receipt, now);
                let entry = Entry { group: message.project.clone(), body: message.encode() };
                let ready = self.enqueue(vec![entry]).await.is_ok();
                *self.ready.lock().expect("nothing panics while it holds the answer") = Some((ready, now));
                ready
            }
        };
        if ready { Ok(Answer::Ready) } else { Err(Problem::Unavailable) }
    }

    async fn enqueue(&self, entries: Vec<Entry>) -> Result<(), Problem> {
        enqueue(&self.queue, entries).await.map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!("{source:?}"));
            tracing::error!(%error, source, "events could not be enqueued");
            Problem::Unavailable
        })
    }
}

fn envelope(owner: Owner, receipt: &str, received_at: Timestamp) -> Message {
    Message {
        version: VERSION,
        project: owner.project,
        source: owner.source,
        receipt: receipt.to_owned(),
        received_at,
        code_version: shared::CODE_VERSION.to_owned(),
        verified: true,
        events: vec![],
        refused: vec![],
    }
}

/// The write key of a request: Segment's clients put it into the header, the body or both; Vero's into the body or the
/// query.
fn write_key(route: Route, call: &Call, in_body: Option<String>) -> Option<String> {
    match route {
        Route::Segment(_) => call.authorization.as_deref().and_then(from_header).or(in_body),
        Route::Vero(_) => in_body.or_else(|| from_query(&call.query, &vero::KEY_PARAMETERS)),
        Route::Health | Route::Ready => None,
    }
    .filter(|key| !key.is_empty())
}
