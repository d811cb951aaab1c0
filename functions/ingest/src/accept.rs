//! The way of a request from bytes to an answer: read, understand, check the key, enqueue, answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::clock::{Clock, Timestamp};
use shared::event::{Event, Kind};
use shared::limits::MESSAGE_BYTES_TARGET;
use shared::message::{Message, VERSION};
use shared::telemetry::{count, metric};

use crate::auth::{KeyLookup, Keys, Owner, from_header};
use crate::config::Config;
use crate::pack::pack;
use crate::parsed::{Arrival, Parsed};
use crate::queue::{Entry, EventQueue, enqueue};
use crate::response::{Answer, Problem};
use crate::route::{Found, Route, SegmentCall, route};
use crate::settings::settings;
use crate::webhook::Signed;
use crate::{body, parameters, segment, vero, webhook};

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
    /// The `Host` header.
    pub host: Option<String>,
    /// The `X-Signature` header.
    pub signature: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
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
        let found = route(&call.method, &call.path);
        let is_pixel = found.as_ref().is_ok_and(|found| matches!(found.route, Route::Pixel(_)));
        let answer = match found {
            Ok(found) => {
                let answer = self.answer_in_time(&found, call, receipt, &mut account);
                tokio::time::timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| {
                    tracing::error!("a request could not be answered in time");
                    Err(Problem::Unavailable)
                })
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = &answer {
            let failed = problem.status() >= 500;
            count(if failed { metric::REQUESTS_FAILED } else { metric::REQUESTS_REFUSED }, 1);
        }
        let answer = match answer {
            Err(problem) if is_pixel => Answer::Pixel(Some(problem)),
            answer => answer.unwrap_or_else(Answer::Problem),
        };
        (answer, account)
    }

    async fn answer_in_time(
        &self,
        found: &Found,
        call: &Call,
        receipt: &str,
        account: &mut Account,
    ) -> Result<Answer, Problem> {
        match found.route {
            Route::Preflight => Ok(Answer::Preflight),
            Route::Health => Ok(Answer::Healthy),
            Route::Heartbeat => Ok(Answer::Heartbeat),
            Route::Ready => self.ready(receipt).await,
            Route::Settings => self.settings(found, call).await,
            // Who only asks for the headers has not looked at it.
            Route::Pixel(_) if call.method == "HEAD" => Ok(Answer::Pixel(None)),
            Route::Pixel(_) => self.take(found, call, receipt, account).await.map(|()| Answer::Pixel(None)),
            Route::Vero(_) => self.take(found, call, receipt, account).await.map(|()| Answer::VeroAccepted),
            Route::Segment(_) | Route::Webhook => {
                self.take(found, call, receipt, account).await.map(|()| Answer::SegmentAccepted)
            }
        }
    }

    /// Makes everything that a request carries durable.
    async fn take(&self, found: &Found, call: &Call, receipt: &str, account: &mut Account) -> Result<(), Problem> {
        let received_at = self.clock.now();
        let arrival = Arrival { received_at, receipt, event_bytes_max: self.config.event_bytes_max };
        let bytes_max = self.config.request_bytes_max;
        let bytes = guarded(|| body::bytes(&call.body, call.content_encoding.as_deref(), bytes_max))?;
        let text = body::in_utf8(&bytes, call.content_type.as_deref());
        let mut parsed = guarded(|| parse(found.route, call, &text, &arrival))?;
        account.events = parsed.events.len();
        account.refused = parsed.refused.len();
        let key = write_key(found, call, parsed.write_key.take()).ok_or(Problem::NoWriteKey)?;
        let mut owner = self.keys.owner(&key, self.clock.as_ref()).await?;
        account.project.clone_from(&owner.project);
        if let Some(secret) = owner.secret.take() {
            // The other calls cannot be signed, so a key whose requests are to be signed is for webhooks only.
            if found.route != Route::Webhook {
                return Err(Problem::BadSignature);
            }
            let signed = guarded(|| webhook::verify(&secret, call.signature.as_deref(), &bytes))?;
            // Nothing is erased for an element that anybody may have put behind a signed one.
            let erases = |event: &Event| event.kind == Kind::Delete && event.index > 0;
            if signed == Signed::First && parsed.events.iter().any(erases) {
                return Err(Problem::BadSignature);
            }
        }
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
        Ok(())
    }

    /// Tells an SDK where to send the events of its source. Nothing is there for a key that nobody has.
    async fn settings(&self, found: &Found, call: &Call) -> Result<Answer, Problem> {
        let key = found.write_key.as_deref().unwrap_or_default();
        match self.keys.owner(key, self.clock.as_ref()).await {
            Ok(_) => Ok(Answer::Settings(settings(key, call.host.as_deref().unwrap_or_default()))),
            Err(Problem::UnknownWriteKey) => Err(Problem::NotFound),
            Err(problem) => Err(problem),
        }
    }

    /// Proves that the queue takes messages by sending it one without events, which `consume` settles and forgets.
    async fn ready(&self, receipt: &str) -> Result<Answer, Problem> {
        let now = self.clock.now();
        let known = *self.ready.lock().expect("nothing panics while it holds the answer");
        let ready = match known {
            Some((ready, asked_at)) if now >= asked_at && now.since(asked_at) < READY_FRESH => ready,
            _ => {
                let owner = Owner { project: "probe".to_owned(), source: "ready".to_owned(), secret: None };
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

/// Runs what reads what strangers wrote: a bug there must cost that request only.
fn guarded<T>(read: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Problem::Internal))
}

fn parse(route: Route, call: &Call, bytes: &[u8], arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    match route {
        Route::Segment(SegmentCall::Batch) => {
            segment::parse(SegmentCall::Batch, body::text_of_any_depth(bytes)?, arrival)
        }
        Route::Segment(segment_call) => segment::parse(segment_call, body::text(bytes)?, arrival),
        Route::Webhook => webhook::parse(body::text_of_any_depth(bytes)?, arrival),
        Route::Pixel(kind) => segment::parse(SegmentCall::Single(kind), &parameters::of_pixel(&call.query)?, arrival),
        Route::Vero(vero_call) => {
            let text = parameters::of_vero(bytes, call.content_type.as_deref(), &call.query)?;
            vero::parse(vero_call, &text, arrival)
        }
        Route::Preflight | Route::Health | Route::Ready | Route::Heartbeat | Route::Settings => Err(Problem::Internal),
    }
}

/// The write key of a request: Segment's clients put it into the header, the body or both; Vero's among the parameters.
/// A webhook has it in the path or the header, and what its events carry is the key of another source, in Segment.
fn write_key(found: &Found, call: &Call, in_body: Option<String>) -> Option<String> {
    let in_header = || call.authorization.as_deref().and_then(from_header);
    match found.route {
        Route::Segment(_) | Route::Pixel(_) => in_header().or(in_body),
        Route::Webhook => found.write_key.clone().or_else(in_header),
        Route::Vero(_) => in_body,
        Route::Preflight | Route::Health | Route::Ready | Route::Heartbeat | Route::Settings => None,
    }
    .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests;
