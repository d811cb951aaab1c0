//! The switches that break something: SQS refuses, DynamoDB throttles, the consumer crashes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::account::Totals;
use super::picture::Picture;
use crate::dynamodb::{self, Fault, Injected, Refusal, Target};
use crate::lambda::{Lambda, epoch_millis};
use crate::sqs::{self, Scope, Window};

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Sqs,
    DynamoDb,
    Consume,
}

impl Part {
    /// The part of that name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "sqs" => Some(Self::Sqs),
            "dynamodb" => Some(Self::DynamoDb),
            "consume" => Some(Self::Consume),
            _ => None,
        }
    }
}

/// Something that is broken, and what the account said when it was broken.
pub(super) struct Broken {
    since: i64,
    totals: Totals,
    spilled: u64,
    /// The fault, where it must be taken back by name.
    injected: Option<Injected>,
}

/// The switches.
pub(super) struct Switches {
    pub(super) sqs: sqs::Faults,
    pub(super) dynamodb: dynamodb::Faults,
    pub(super) lambda: Lambda,
    /// The name of the function that can be crashed.
    pub(super) function: String,
    pub(super) window: Window,
    /// The names of the queues.
    pub(super) queues: [String; 2],
    pub(super) picture: Picture,
    pub(super) broken: Mutex<[Option<Broken>; 3]>,
}

impl Switches {
    /// Breaks a part, or mends it. Doing it twice is doing it once.
    pub(super) fn turn(&self, part: Part, breaks: bool) {
        let (totals, spilled) = self.picture.state().so_far();
        let mut broken = self.broken();
        let slot = &mut broken[part as usize];
        if slot.is_some() == breaks {
            return;
        }
        let injected = match (part, breaks) {
            (Part::Sqs, true) => {
                self.sqs.refuse(Scope::Every, sqs::Times::UntilCleared);
                None
            }
            (Part::Sqs, false) => {
                self.sqs.clear();
                None
            }
            (Part::DynamoDb, true) => {
                let fault = Fault::Refuse(Refusal::Throttling);
                Some(self.dynamodb.inject(Target::All, fault, dynamodb::Times::UntilCleared))
            }
            (Part::DynamoDb, false) => None,
            (Part::Consume, _) => {
                self.lambda.set_crashing(&self.function, breaks);
                None
            }
        };
        if let Some(Broken { injected: Some(fault), .. }) = slot.take() {
            fault.clear();
        }
        *slot = breaks.then(|| Broken { since: epoch_millis(), totals, spilled, injected });
    }

    /// Ends the wait of every message that is hidden for a while, as the end of its visibility time-out would. One that a
    /// function is just working on is delivered a second time then. Returns how many there were.
    ///
    /// # Errors
    /// The queues have stopped.
    pub(super) fn reveal(&self) -> Result<usize, sqs::Refusal> {
        self.queues.iter().map(|queue| self.window.reveal(queue)).sum()
    }

    /// Which parts are broken, and what has happened since.
    pub(super) fn json(&self) -> Value {
        let (now, spilled_now) = self.picture.state().so_far();
        let hidden_until = self.picture.state().hidden_until();
        let broken = self.broken();
        let one = |part: Part| {
            broken[part as usize].as_ref().map(|broken| {
                json!({
                    "since": broken.since,
                    "acknowledged": now.acknowledged.saturating_sub(broken.totals.acknowledged),
                    "spilled": spilled_now.saturating_sub(broken.spilled),
                    "stored": now.stored.saturating_sub(broken.totals.stored),
                    "calls": broken.injected.as_ref().map(Injected::applied),
                })
            })
        };
        json!({
            "sqs": one(Part::Sqs),
            "dynamodb": one(Part::DynamoDb),
            "consume": one(Part::Consume),
            "hidden_for_ms": (hidden_until - epoch_millis()).max(0),
        })
    }

    /// Every change is one assignment, so a panic elsewhere cannot leave it half done.
    fn broken(&self) -> MutexGuard<'_, [Option<Broken>; 3]> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
