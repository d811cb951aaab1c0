//! Fault switches: the unkind things that SQS may do and a stand-in would not do by itself. They can be set while the
//! server runs, and take effect in the HTTP front only; the state machine stays exact.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{Code, Refusal};
use super::receive::{Order, Received, mix};
use super::wire::Action;

/// Longest time that a reply can be held back: beyond it every client has given up.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Most deliveries that wait to be repeated; beyond it none are added.
const ECHOES_MAX: usize = 1_000;

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// That many times.
    Next(u32),
    /// Until [`Faults::clear`].
    UntilCleared,
}

/// Which actions a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every action.
    Every,
    /// One action.
    Only(Action),
}

impl From<Action> for Scope {
    fn from(action: Action) -> Scope {
        Scope::Only(action)
    }
}

#[derive(Clone, Debug)]
enum Effect {
    Throttle,
    Refuse,
    FailEntries(BTreeSet<usize>),
    Duplicate,
    DropReply,
    DelayReply(Duration),
}

#[derive(Debug)]
struct Switch {
    scope: Scope,
    times: Times,
    effect: Effect,
}

#[derive(Debug, Default)]
struct Plan {
    switches: Vec<Switch>,
    shuffle: Option<u64>,
    /// Deliveries to repeat, with their queues.
    echoes: VecDeque<(String, Received)>,
}

/// The switches of one server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

/// What the switches do to one call.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    pub(crate) refusal: Option<Refusal>,
    pub(crate) failed_entries: BTreeSet<usize>,
    pub(crate) order: Order,
    pub(crate) drop_reply: bool,
    pub(crate) delay: Option<Duration>,
}

impl Faults {
    /// Answers `RequestThrottled` (HTTP 400), without an effect.
    pub fn throttle(&self, scope: impl Into<Scope>, times: Times) {
        self.add(scope.into(), times, Effect::Throttle);
    }

    /// Answers `ServiceUnavailable` (HTTP 503), without an effect.
    pub fn refuse(&self, scope: impl Into<Scope>, times: Times) {
        self.add(scope.into(), times, Effect::Refuse);
    }

    /// Fails entries of a batch by their index, without an effect: `InternalError`, not the sender's fault. `batch` is
    /// one of the three batch actions.
    pub fn fail_entries(&self, batch: Action, indexes: impl IntoIterator<Item = usize>, times: Times) {
        self.add(Scope::Only(batch), times, Effect::FailEntries(indexes.into_iter().collect()));
    }

    /// Delivers the messages of a receive once more, in later receives, though they are in flight or deleted. Counts
    /// receives that deliver something.
    pub fn duplicate(&self, times: Times) {
        self.add(Scope::Only(Action::ReceiveMessage), times, Effect::Duplicate);
    }

    /// Delivers messages of standard queues in an order that a seed chooses, or in that of sending again with `None`.
    pub fn reorder(&self, seed: Option<u64>) {
        self.plan().shuffle = seed;
    }

    /// Applies the call, then closes the connection without a reply.
    pub fn drop_reply(&self, scope: impl Into<Scope>, times: Times) {
        self.add(scope.into(), times, Effect::DropReply);
    }

    /// Applies the call, then holds the reply back for that long, at most a minute.
    pub fn delay_reply(&self, scope: impl Into<Scope>, delay: Duration, times: Times) {
        self.add(scope.into(), times, Effect::DelayReply(delay.min(DELAY_MAX)));
    }

    /// Switches every fault off and forgets the deliveries that were to be repeated.
    pub fn clear(&self) {
        *self.plan() = Plan::default();
    }

    /// Whether every fault that was set for a number of times has struck as often, and no delivery waits to be
    /// repeated.
    pub fn is_spent(&self) -> bool {
        let plan = self.plan();
        plan.echoes.is_empty() && plan.switches.iter().all(|switch| switch.times == Times::UntilCleared)
    }

    fn add(&self, scope: Scope, times: Times, effect: Effect) {
        if times != Times::Next(0) {
            self.plan().switches.push(Switch { scope, times, effect });
        }
    }

    /// A panic elsewhere cannot leave the plan half changed: every change to it is one step.
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What befalls a call of that action. A call that is refused uses up no other fault.
    pub(crate) fn plan_for(&self, action: Action) -> Planned {
        let mut plan = self.plan();
        let mut planned = Planned::default();
        if plan.strikes(action, |effect| matches!(effect, Effect::Refuse)).is_some() {
            planned.refusal = Some(Refusal::new(Code::ServiceUnavailable, "The service is unavailable."));
        } else if plan.strikes(action, |effect| matches!(effect, Effect::Throttle)).is_some() {
            planned.refusal = Some(Refusal::new(Code::RequestThrottled, "Rate exceeded."));
        }
        if let Some(Effect::DelayReply(delay)) = plan.strikes(action, |e| matches!(e, Effect::DelayReply(_))) {
            planned.delay = Some(delay);
        }
        if planned.refusal.is_some() {
            return planned;
        }
        if let Some(Effect::FailEntries(indexes)) = plan.strikes(action, |e| matches!(e, Effect::FailEntries(_))) {
            planned.failed_entries = indexes;
        }
        planned.drop_reply = plan.strikes(action, |effect| matches!(effect, Effect::DropReply)).is_some();
        if action == Action::ReceiveMessage
            && let Some(seed) = &mut plan.shuffle
        {
            *seed = mix(*seed);
            planned.order = Order::Shuffled(*seed);
        }
        planned
    }

    /// Notes deliveries to repeat, if the switch for that is on; returns whether there are any.
    pub(crate) fn note_delivery(&self, queue: &str, received: &[Received]) -> bool {
        let mut plan = self.plan();
        if received.is_empty() || plan.echoes.len() + received.len() > ECHOES_MAX {
            return false;
        }
        let struck = plan.strikes(Action::ReceiveMessage, |effect| matches!(effect, Effect::Duplicate)).is_some();
        if struck {
            plan.echoes.extend(received.iter().map(|received| (queue.to_owned(), received.clone())));
        }
        struck
    }

    /// Takes deliveries to repeat now, at most that many.
    pub(crate) fn take_echoes(&self, queue: &str, max: usize) -> Vec<Received> {
        let mut plan = self.plan();
        let mut taken = Vec::new();
        plan.echoes.retain(|(of, received)| {
            let take = of == queue && taken.len() < max;
            if take {
                taken.push(received.clone());
            }
            !take
        });
        taken
    }
}

impl Plan {
    /// The first effect of a kind that strikes the action, used up by one.
    fn strikes(&mut self, action: Action, kind: impl Fn(&Effect) -> bool) -> Option<Effect> {
        let applies = |switch: &Switch| switch.scope == Scope::Every || switch.scope == Scope::Only(action);
        let index = self.switches.iter().position(|switch| applies(switch) && kind(&switch.effect))?;
        let switch = &mut self.switches[index];
        let effect = switch.effect.clone();
        match &mut switch.times {
            Times::UntilCleared => {}
            Times::Next(left) if *left > 1 => *left -= 1,
            Times::Next(_) => {
                self.switches.remove(index);
            }
        }
        Some(effect)
    }
}
