//! The way of a request from a question to its answer.

use std::sync::Arc;
use std::time::Duration;

use consume::table::Table;
use ingest::accept::{Call, guarded};
use ingest::auth::{Checked, KeyLookup, Keys, Owner, from_header};
use ingest::parsed::{Arrival, WRITE_KEY, id, object, string};
use ingest::response::{Answer, Problem};
use ingest::{body, parameters, segment, vero};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::event::Event;
use shared::outcome::Cause;
use shared::receipt::{NoReceipt, Receipt};
use shared::telemetry::{count, metric};

use crate::config::Config;
use crate::fates::{Fate, ItemFate, fates};
use crate::missing::{Asked, missing, read};
use crate::route::{Route, route};

/// For how long a request may take. Of the largest, a hundred calls are made to the tables.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// After what time a producer may ask again, while a table cannot be read.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The function, with its ports.
pub struct Receipts<L, T> {
    config: Config,
    keys: Keys<L>,
    events: T,
    dead_letters: T,
    clock: Arc<dyn Clock>,
}

/// What is known of a request when it has been answered: the fields of its log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The project; empty where the key was not found.
    pub project: String,
    /// The receipt that was asked for, as messages and items have it; empty where none was.
    pub receipt: String,
    /// Items that were asked for.
    pub items: usize,
}

/// A question, understood.
enum Question {
    Fates(Receipt),
    Missing(Asked, Vec<Option<Box<RawValue>>>),
}

impl<L: KeyLookup, T: Table + Sync> Receipts<L, T> {
    /// Puts the function together.
    pub fn new(config: Config, lookup: L, events: T, dead_letters: T, clock: Arc<dyn Clock>) -> Self {
        Self { config, keys: Keys::new(lookup), events, dead_letters, clock }
    }

    /// Answers a request.
    pub async fn answer(&self, call: &Call) -> (Answer, Account) {
        let mut account = Account::default();
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.answer_in_time(call, &mut account)).await;
        let answer = answer.unwrap_or_else(|_| {
            tracing::error!("a request could not be answered in time");
            Err(Problem::unavailable(AGAIN_AFTER))
        });
        if let Err(problem) = &answer {
            let failed = problem.status() >= 500;
            count(if failed { metric::REQUESTS_FAILED } else { metric::REQUESTS_REFUSED }, 1);
        }
        (answer.unwrap_or_else(Answer::Problem), account)
    }

    async fn answer_in_time(&self, call: &Call, account: &mut Account) -> Result<Answer, Problem> {
        let route = route(&call.method, &call.path)?;
        if route == Route::Preflight {
            return Ok(Answer::Preflight);
        }
        let (question, key) = guarded(|| self.read(&route, call))?;
        let Owner { project, lives_with_user, .. } = self.owner(&key.ok_or(Problem::NoWriteKey)?).await?;
        account.project.clone_from(&project);
        match question {
            Question::Fates(receipt) => {
                if !receipt.may_be_of(&project) {
                    return Err(Problem::NotFound);
                }
                account.receipt.clone_from(&receipt.receipt);
                account.items = receipt.items as usize;
                let (now, letters) = (self.clock.now(), &self.dead_letters);
                let fates = fates(&self.events, letters, &project, &receipt, now).await.map_err(unavailable)?;
                Ok(Answer::Fates(told(&receipt, &fates).to_string()))
            }
            Question::Missing(mut asked, ids) => {
                if lives_with_user {
                    asked.events.iter_mut().for_each(Event::live_with_user);
                }
                account.items = ids.len();
                let envelope = Receipt::asking(&project, self.clock.now());
                let missing = missing(&self.events, &envelope, &asked.events).await.map_err(unavailable)?;
                Ok(Answer::Fates(told_missing(&missing, &asked, &ids).to_string()))
            }
        }
    }

    /// Reads a question, and the write key that comes with it.
    fn read(&self, route: &Route, call: &Call) -> Result<(Question, Option<String>), Problem> {
        let Route::Receipt(id) = route else { return self.read_missing(call) };
        let no_receipt = |NoReceipt| Problem::Malformed("the path does not end with the id of a receipt".to_owned());
        Ok((Question::Fates(Receipt::read(id).map_err(no_receipt)?), write_key(call, None)))
    }

    fn read_missing(&self, call: &Call) -> Result<(Question, Option<String>), Problem> {
        let bytes_max = self.config.request_bytes_max;
        let bytes = body::bytes(&call.body, call.content_encoding.as_deref(), bytes_max)?;
        let bytes = body::in_utf8(&bytes, call.content_type.as_deref());
        if bytes.len() > bytes_max {
            return Err(Problem::RequestTooLarge { limit: bytes_max });
        }
        let members = object(body::text_of_any_depth(&bytes)?)?;
        let items = segment::batch_items(&members)?;
        if items.is_empty() {
            return Err(Problem::EmptyBatch);
        }
        let arrival =
            Arrival { received_at: self.clock.now(), receipt: "", event_bytes_max: self.config.event_bytes_max };
        let asked = read(&items, &arrival);
        let ids = items.iter().map(|item| message_id(item, &arrival)).collect();
        let key = write_key(call, members.get(WRITE_KEY).and_then(string));
        Ok((Question::Missing(asked, ids), key))
    }

    /// Whose a write key is.
    async fn owner(&self, key: &str) -> Result<Owner, Problem> {
        match self.keys.check(key, self.clock.as_ref()).await? {
            // A key whose requests are to be signed is for webhooks only.
            Checked::Known(owner) if owner.secret.is_some() => Err(Problem::BadSignature),
            Checked::Known(owner) => Ok(owner),
            Checked::Unchecked { .. } => Err(Problem::unavailable(self.keys.retry_after(self.clock.now()))),
        }
    }
}

fn unavailable(cause: Cause) -> Problem {
    tracing::warn!(cause = cause.tag(), "a table could not be read");
    Problem::unavailable(AGAIN_AFTER)
}

/// The write key of a question, wherever the clients of either protocol put it: in the header, the body or the query.
fn write_key(call: &Call, in_body: Option<String>) -> Option<String> {
    let in_query = || {
        let text = parameters::of_vero(b"", None, &call.query).ok()?;
        vero::write_key(&object(&text).ok()?)
    };
    let in_header = call.authorization.as_deref().and_then(from_header);
    in_header.or(in_body).or_else(in_query).filter(|key| !key.is_empty())
}

/// The `messageId` of an item as its producer wrote it, to be told with its index; `None` where it is no id.
fn message_id(item: &RawValue, arrival: &Arrival<'_>) -> Option<Box<RawValue>> {
    if !arrival.has_room_for(item.get()) {
        return None;
    }
    let members = object(item.get()).ok()?;
    members.get("messageId").filter(|value| id(Some(value)).is_ok()).map(ToOwned::to_owned)
}

fn told(receipt: &Receipt, fates: &[ItemFate]) -> Value {
    let item = |ItemFate { index, event, fate }: &ItemFate| {
        let mut item = json!({"index": index, "fate": fate.tag()});
        if let Some(event) = event {
            item["kind"] = json!(event.kind.tag());
            item["eventId"] = json!(event.id);
        }
        if let Fate::DeadLettered { reason, state } = fate {
            item["reason"] = json!(reason);
            item["state"] = json!(state);
        }
        item
    };
    json!({
        "success": true,
        "status": 200,
        "receivedAt": receipt.received_at,
        "items": fates.iter().map(item).collect::<Vec<Value>>(),
    })
}

fn told_missing(missing: &[u32], asked: &Asked, ids: &[Option<Box<RawValue>>]) -> Value {
    let item = |index: u32| {
        let mut item = json!({"index": index});
        let id = usize::try_from(index).ok().and_then(|index| ids.get(index)?.as_ref());
        // What JSON text was read, JSON text can be written.
        if let Some(id) = id.and_then(|id| serde_json::to_value(id).ok()) {
            item["messageId"] = id;
        }
        item
    };
    let untold = asked.untold.iter().map(|(index, why)| {
        let mut item = item(*index);
        item["reason"] = json!(why.tag());
        item
    });
    json!({
        "success": true,
        "status": 200,
        "missing": missing.iter().map(|index| item(*index)).collect::<Vec<Value>>(),
        "untold": untold.collect::<Vec<Value>>(),
    })
}
