//! The switches of DynamoDB's misbehavior, to be turned while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::refusal::Refusal;

/// Which calls a fault meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every call, of whatever operation.
    All,
    /// The calls of one operation, by the API's name (`PutItem`).
    Operation(String),
}

impl Target {
    /// The calls of one operation, by the API's name.
    #[must_use]
    pub fn operation(name: &str) -> Self {
        Self::Operation(name.to_owned())
    }
}

/// For how long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// For this many of the calls that it meets.
    Calls(u32),
    /// Until it is switched off.
    UntilCleared,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call is answered with an error and has no effect.
    Refuse(Refusal),
    /// `BatchExecuteStatement` leaves out the statements at these indexes, counted from 0, and reports this error for
    /// each of them. Other operations do not meet this fault.
    RefuseStatements {
        /// Positions in the request; those beyond its end are ignored.
        indexes: Vec<usize>,
        /// The error of each.
        refusal: Refusal,
    },
    /// `BatchWriteItem` and `BatchGetItem` take the first items only and return the others as unprocessed. With none
    /// taken the call is refused, as in AWS. Other operations do not meet this fault.
    LeaveUnprocessed {
        /// The most items that are taken, tables in the order of their names.
        taken_max: usize,
    },
    /// The call takes effect, and then the connection is closed without an answer.
    DropReply,
    /// The call is held up for this long before anything else happens.
    Delay(Duration),
}

impl Fault {
    fn concerns(&self, operation: &str) -> bool {
        match self {
            Self::RefuseStatements { .. } => operation == "BatchExecuteStatement",
            Self::LeaveUnprocessed { .. } => operation == "BatchWriteItem" || operation == "BatchGetItem",
            Self::Refuse(_) | Self::DropReply | Self::Delay(_) => true,
        }
    }
}

/// A handle to a server's faults; clones are handles to the same.
///
/// Faults meet a call in the order in which they were injected. The first that refuses ends the call and spares the
/// ones after it; of the two that change a batch, only the first is used.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Arc<Mutex<Rules>>,
}

#[derive(Debug, Default)]
struct Rules {
    id_next: u64,
    active: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    id: u64,
    target: Target,
    fault: Fault,
    times: Times,
    applied: Arc<AtomicU64>,
}

/// One fault that was injected. Dropping it leaves the fault as it is.
#[derive(Clone, Debug)]
pub struct Injected {
    id: u64,
    faults: Faults,
    applied: Arc<AtomicU64>,
}

impl Injected {
    /// How many calls the fault has met so far.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Switches the fault off.
    pub fn clear(&self) {
        self.faults.lock().active.retain(|rule| rule.id != self.id);
    }
}

impl Faults {
    /// Switches a fault on.
    pub fn inject(&self, target: Target, fault: Fault, times: Times) -> Injected {
        let applied = Arc::new(AtomicU64::new(0));
        let mut rules = self.lock();
        let id = rules.id_next;
        rules.id_next += 1;
        if times != Times::Calls(0) {
            rules.active.push(Rule { id, target, fault, times, applied: Arc::clone(&applied) });
        }
        Injected { id, faults: self.clone(), applied }
    }

    /// Switches all faults off.
    pub fn clear_all(&self) {
        self.lock().active.clear();
    }

    /// What is to go wrong with the next call of an operation; counts the faults that it meets.
    pub(super) fn plan(&self, operation: &str) -> Plan {
        let mut plan = Plan::default();
        self.lock().active.retain_mut(|rule| {
            let meets = match &rule.target {
                Target::All => true,
                Target::Operation(name) => name == operation,
            };
            if !meets || !rule.fault.concerns(operation) || !plan.take(&rule.fault) {
                return true;
            }
            rule.applied.fetch_add(1, Ordering::SeqCst);
            match &mut rule.times {
                Times::UntilCleared => true,
                Times::Calls(left) => {
                    *left -= 1;
                    *left > 0
                }
            }
        });
        plan
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        // The rules are changed in single steps, so a panic elsewhere cannot leave them half changed.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes wrong with one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Held up for this long first.
    pub(super) delay: Duration,
    /// Then answered with this error,
    pub(super) refusal: Option<Refusal>,
    /// or done in part ([`Fault::RefuseStatements`] or [`Fault::LeaveUnprocessed`]),
    pub(super) partial: Option<Fault>,
    /// and then left without an answer.
    pub(super) drop_reply: bool,
}

impl Plan {
    /// Adds a fault, unless what is planned already leaves no place for it.
    fn take(&mut self, fault: &Fault) -> bool {
        if self.refusal.is_some() {
            return false;
        }
        match fault {
            Fault::Refuse(refusal) => self.refusal = Some(*refusal),
            Fault::RefuseStatements { .. } | Fault::LeaveUnprocessed { .. } => {
                if self.partial.is_some() {
                    return false;
                }
                self.partial = Some(fault.clone());
            }
            Fault::DropReply => self.drop_reply = true,
            Fault::Delay(delay) => self.delay += *delay,
        }
        true
    }
}
