//! The way of a request from bytes to an answer: read, understand, check the key, enqueue, answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::clock::{Clock, Timestamp};
use shared::event::{Event, Kind};
use shared::limits::MESSAGE_BYTES_TARGET;
use shared::message::{Message, VERSION};
use shared::receipt::Receipt;
use shared::telemetry::{count, metric};

use crate::auth::{self, Checked, KeyLookup, Keys, Owner, from_header};
use crate::config::Config;
use crate::durable::{Durable, QUEUE_WITHIN, SPILL_WITHIN};
use crate::pack::{pack, probe};
use crate::parsed::{Arrival, Parsed};
use crate::queue::{Entry, EventQueue};
use crate::response::{Answer, Problem};
use crate::route::{Found, Route, SegmentCall, route};
use crate::settings::settings;
use crate::spill::SpillStore;
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
    /// What the producer is told of it: the id of the receipt, once everything is durable.
    pub receipt_id: Option<String>,
    /// The project; empty where the key was not found.
    pub project: String,
    /// Events that were understood.
    pub events: usize,
    /// Items that can never be stored.
    pub refused: usize,
    /// Events and refused items that went to the spill table, because the queue did not take them.
    pub spilled: usize,
    /// Whether the write key could be checked; if not, `consume` will.
    pub verified: bool,
}

/// For how long a request may take: the least patient common client (Segment's webhooks, Analytics.NET) waits 5 s.
const ANSWER_WITHIN: Duration = Duration::from_millis(4_000);
// Its parts fit, so that a request is answered rather than cut off while one of the services behind us is away.
const _: () = assert!(
    auth::PATIENCE.as_millis() + QUEUE_WITHIN.as_millis() + SPILL_WITHIN.as_millis() < ANSWER_WITHIN.as_millis()
);
/// For how long an answer to `/ready` stands, so that asking often costs nothing.
const READY_FRESH: Duration = Duration::from_secs(5);

/// The function, with its ports.
pub struct Ingest<L, Q, S> {
    config: Config,
    keys: Keys<L>,
    durable: Durable<Q, S>,
    clock: Arc<dyn Clock>,
    ready: Mutex<Option<(bool, Timestamp)>>,
}

impl<L: KeyLookup, Q: EventQueue, S: SpillStore> Ingest<L, Q, S> {
    /// Puts the function together.
    pub fn new(config: Config, lookup: L, queue: Q, spill: S, clock: Arc<dyn Clock>) -> Self {
        let durable = Durable::new(queue, spill, Arc::clone(&clock));
        Self { config, keys: Keys::new(lookup), durable, clock, ready: Mutex::new(None) }
    }

    /// Answers a request. `receipt` must be unique to it.
    ///
    /// An accepting answer is given only after the queue, or the spill table, has confirmed every event and refused item
    /// of the request.
    pub async fn answer(&self, call: &Call, receipt: &str) -> (Answer, Account) {
        let mut account = Account::default();
        let found = route(&call.method, &call.path);
        let is_pixel = found.as_ref().is_ok_and(|found| matches!(found.route, Route::Pixel(_)));
        let answer = match found {
            Ok(found) => {
                let answer = self.answer_in_time(&found, call, receipt, &mut account);
                tokio::time::timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| {
                    tracing::error!("a request could not be answered in time");
                    Err(Problem::unavailable(Duration::ZERO))
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
        // Of ISO-8859-1, characters may have become twice as long.
        if text.len() > bytes_max {
            return Err(Problem::RequestTooLarge { limit: bytes_max });
        }
        let mut parsed = guarded(|| parse(found.route, call, &text, &arrival))?;
        account.events = parsed.events.len();
        account.refused = parsed.refused.len();
        let key = write_key(found, call, parsed.write_key.take()).ok_or(Problem::NoWriteKey)?;
        let checked = self.keys.check(&key, self.clock.as_ref()).await?;
        match &checked {
            Checked::Known(owner) => {
                account.project.clone_from(&owner.project);
                verify_signature(owner, found, call, &bytes, &parsed)?;
                if owner.lives_with_user {
                    parsed.events.iter_mut().for_each(Event::live_with_user);
                }
            }
            // Whether it is to be signed, only the table knows; and Segment's webhooks are sent again.
            Checked::Unchecked { .. } if found.route == Route::Webhook => return Err(self.keys_unavailable()),
            Checked::Unchecked { .. } => {}
        }
        // Everything that counts is in the events by now.
        drop(text);
        drop(bytes);
        account.verified = matches!(checked, Checked::Known(_));
        receipt.clone_into(&mut account.receipt);
        count(metric::EVENTS_RECEIVED, (account.events + account.refused) as u64);
        let mut envelope = envelope(checked, receipt, received_at);
        for refused in &parsed.refused {
            tracing::warn!(
                receipt,
                project = envelope.project,
                index = refused.index,
                reason = refused.reason,
                "item refused"
            );
        }
        // Random, so that nobody can guess it from what is stored.
        let new_key = || uuid::Uuid::now_v7().simple().to_string();
        let issued = Receipt::issue(&envelope, &parsed.events, &parsed.refused, new_key);
        envelope.lists_items = issued.list_key.is_some();
        envelope.list_key = issued.list_key.unwrap_or_default();
        let entries = pack(&envelope, parsed.events, parsed.refused, MESSAGE_BYTES_TARGET);
        account.spilled = self.make_durable(receipt, entries).await?;
        count(metric::EVENTS_SPILLED, account.spilled as u64);
        count(metric::EVENTS_ACCEPTED, account.events as u64);
        count(metric::EVENTS_REFUSED, account.refused as u64);
        account.receipt_id = Some(issued.id);
        Ok(())
    }

    /// Tells an SDK where to send the events of its source. Nothing is there for a key that nobody has.
    async fn settings(&self, found: &Found, call: &Call) -> Result<Answer, Problem> {
        let key = found.write_key.as_deref().unwrap_or_default();
        match self.keys.check(key, self.clock.as_ref()).await {
            Ok(Checked::Known(_)) => Ok(Answer::Settings(settings(key, call.host.as_deref().unwrap_or_default()))),
            Ok(Checked::Unchecked { .. }) => Err(self.keys_unavailable()),
            Err(Problem::UnknownWriteKey) => Err(Problem::NotFound),
            Err(problem) => Err(problem),
        }
    }

    fn keys_unavailable(&self) -> Problem {
        Problem::unavailable(self.keys.retry_after(self.clock.now()))
    }

    /// Proves that a message is taken by sending one without events, which `consume` settles and forgets.
    async fn ready(&self, receipt: &str) -> Result<Answer, Problem> {
        let now = self.clock.now();
        let known = *self.ready.lock().expect("nothing panics while it holds the answer");
        let ready = match known {
            Some((ready, asked_at)) if now >= asked_at && now.since(asked_at) < READY_FRESH => ready,
            _ => {
                let owner = Owner {
                    project: "probe".to_owned(),
                    source: "ready".to_owned(),
                    secret: None,
                    lives_with_user: false,
                };
                let message = envelope(Checked::Known(owner), receipt, now);
                let ready = self.make_durable(receipt, vec![probe(&message)]).await.is_ok();
                *self.ready.lock().expect("nothing panics while it holds the answer") = Some((ready, now));
                ready
            }
        };
        if ready { Ok(Answer::Ready) } else { Err(Problem::unavailable(READY_FRESH)) }
    }

    async fn make_durable(&self, receipt: &str, entries: Vec<Entry>) -> Result<usize, Problem> {
        let durable = self.durable.take(receipt, entries).await;
        durable.map_err(|trouble| Problem::unavailable(trouble.retry_after))
    }
}

fn envelope(checked: Checked, receipt: &str, received_at: Timestamp) -> Message {
    let (project, source, write_key_hash) = match checked {
        Checked::Known(owner) => (owner.project, owner.source, None),
        Checked::Unchecked { hash } => (String::new(), String::new(), Some(hash)),
    };
    Message {
        version: VERSION,
        project,
        source,
        receipt: receipt.to_owned(),
        received_at,
        code_version: shared::CODE_VERSION.to_owned(),
        verified: write_key_hash.is_none(),
        write_key_hash,
        lists_items: false,
        list_key: String::new(),
        events: vec![],
        refused: vec![],
    }
}

/// Checks the signature of a webhook whose key has a secret.
fn verify_signature(owner: &Owner, found: &Found, call: &Call, bytes: &[u8], parsed: &Parsed) -> Result<(), Problem> {
    let Some(secret) = &owner.secret else { return Ok(()) };
    // The other calls cannot be signed, so a key whose requests are to be signed is for webhooks only.
    if found.route != Route::Webhook {
        return Err(Problem::BadSignature);
    }
    let signed = guarded(|| webhook::verify(secret, call.signature.as_deref(), bytes))?;
    // Nothing is erased for an element that anybody may have put behind a signed one.
    let erases = |event: &Event| event.kind == Kind::Delete && event.index > 0;
    if signed == Signed::First && parsed.events.iter().any(erases) {
        return Err(Problem::BadSignature);
    }
    Ok(())
}

/// Runs what reads what strangers wrote: a bug there must cost that request only.
///
/// # Errors
/// Those of `read`, and [`Problem::Internal`] where it panics.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
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
