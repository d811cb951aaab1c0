//! A standard queue of SQS: visibility, receive counts, redrive at receive, and no promise of order or of once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use consume::queue::{Deferral, Outgoing, Queue};
use ingest::queue::{Entry, EventQueue, QueueError};
use shared::outcome::Cause;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::scenario::Service;
use super::world::{Env, Trouble, World};

/// The visibility time-out of both queues in the template.
const VISIBILITY: Duration = Duration::from_secs(361);
/// How long a message is kept: that of the queue in the template, the shorter of the two.
const RETENTION: Duration = Duration::from_secs(345_600);

/// A message in a queue.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) id: String,
    pub(crate) body: Arc<str>,
    pub(crate) group: String,
    pub(crate) redrive: Option<String>,
    /// In milliseconds since 1970.
    pub(crate) sent_millis: i64,
    pub(crate) receives: u32,
    /// The handle of the latest receive.
    pub(crate) handle: String,
    visible_at: Duration,
    sent_at: Duration,
}

/// A queue.
pub(crate) struct SimQueue {
    pub(crate) name: &'static str,
    world: Arc<World>,
    receives_max: u32,
    dead_letter_queue: Option<Arc<SimQueue>>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    messages: BTreeMap<u64, Held>,
    next: u64,
    /// The most messages that may be in flight, if that is limited.
    in_flight_max: Option<usize>,
}

impl State {
    /// The messages that were received and are neither deleted nor visible again.
    fn in_flight(&self, now: Duration) -> usize {
        self.messages.values().filter(|held| held.receives > 0 && held.visible_at > now).count()
    }
}

impl SimQueue {
    pub(crate) fn new(world: &Arc<World>, name: &'static str, redrive: Option<(u32, &Arc<SimQueue>)>) -> Arc<Self> {
        Arc::new(Self {
            name,
            world: Arc::clone(world),
            receives_max: redrive.map_or(u32::MAX, |(receives_max, _)| receives_max),
            dead_letter_queue: redrive.map(|(_, queue)| Arc::clone(queue)),
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a queue")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().messages.is_empty()
    }

    /// How many messages are in the queue.
    pub(crate) fn len(&self) -> usize {
        self.state().messages.len()
    }

    /// How many of them were received and wait for their end, or to be visible again.
    pub(crate) fn in_flight(&self) -> usize {
        self.state().in_flight(self.world.elapsed())
    }

    /// Hands nothing out from now on while so many messages are in flight.
    pub(crate) fn limit_in_flight(&self, most: usize) {
        self.state().in_flight_max = Some(most);
    }

    /// When the oldest of them was sent, in milliseconds since 1970.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.state().messages.values().map(|held| held.sent_millis).min()
    }

    /// The ids of what is in the queue.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.state().messages.values().map(|held| held.id.clone()).collect()
    }

    /// Takes a message. Returns its id.
    pub(crate) fn push(&self, body: &str, group: &str, redrive: Option<String>) -> String {
        self.world.is_durable_now(body);
        let delay = self.world.chance.millis(1, if self.world.is_stormy() { 300 } else { 3 });
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let id = format!("{}-{number}", self.name);
        let now = self.world.elapsed();
        let held = Held {
            id: id.clone(),
            body: body.into(),
            group: group.to_owned(),
            redrive,
            sent_millis: self.world.millis(),
            receives: 0,
            handle: String::new(),
            visible_at: now + delay,
            sent_at: now,
        };
        state.messages.insert(number, held);
        drop(state);
        self.changed.notify_waiters();
        id
    }

    /// Waits until there are messages, and receives at most so many, in any order.
    pub(crate) async fn receive(&self, max: usize) -> Vec<Held> {
        loop {
            let changed = self.changed.notified();
            let received = self.receive_now(max);
            if !received.is_empty() {
                return received;
            }
            let now = self.world.elapsed();
            // What is visible and was not received is held back until others have left.
            let next = self.state().messages.values().map(|held| held.visible_at).filter(|at| *at > now).min();
            let wait = next.map_or(RETENTION, |next| next - now);
            // The timer's grain is a millisecond.
            let _ = timeout(wait + Duration::from_millis(1), changed).await;
        }
    }

    fn receive_now(&self, max: usize) -> Vec<Held> {
        let now = self.world.elapsed();
        let mut state = self.state();
        state.messages.retain(|_, held| now < held.sent_at + RETENTION);
        let max = state.in_flight_max.map_or(max, |most| most.saturating_sub(state.in_flight(now)).min(max));
        let mut visible: Vec<u64> =
            state.messages.iter().filter(|(_, held)| held.visible_at <= now).map(|(number, _)| *number).collect();
        self.world.chance.shuffle(&mut visible);
        let (mut received, mut moved) = (Vec::new(), Vec::new());
        for number in visible {
            if received.len() == max {
                break;
            }
            let Some(held) = state.messages.get_mut(&number) else { continue };
            if held.receives >= self.receives_max {
                moved.extend(state.messages.remove(&number));
                continue;
            }
            held.receives += 1;
            held.handle = format!("{}/{}", held.id, held.receives);
            // A standard queue may deliver a message again at once.
            let again = self.world.befalls(self.world.scenario.duplicate);
            held.visible_at = now + if again { self.world.chance.millis(0, 2_000) } else { VISIBILITY };
            received.push(held.clone());
            if again {
                self.world.note("message delivered twice", || held.id.clone());
            }
        }
        drop(state);
        for held in moved {
            self.world.note("message quarantined", || held.id.clone());
            if let Some(queue) = &self.dead_letter_queue {
                queue.adopt(held);
            }
        }
        received
    }

    /// Takes a message over from another queue; its id, its age and its receives go along.
    fn adopt(&self, held: Held) {
        let visible_at = self.world.elapsed();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.messages.insert(number, Held { visible_at, ..held });
        drop(state);
        self.changed.notify_waiters();
    }

    /// Deletes what was received with these handles. One that is not the latest may have no effect.
    pub(crate) fn delete(&self, handles: &[String]) {
        let now = self.world.elapsed();
        let mut state = self.state();
        for handle in handles {
            let Some((id, _)) = handle.split_once('/') else { continue };
            let found = state.messages.iter_mut().find(|(_, held)| held.id == id);
            let Some((number, held)) = found.map(|(number, held)| (*number, held)) else { continue };
            if held.handle != *handle && self.world.chance.hits(0.5) {
                self.world.note("delete by an old handle without effect", || handle.clone());
            } else if self.world.befalls(self.world.scenario.duplicate / 4.0) {
                // A copy on a server that was away comes back.
                held.visible_at = now + self.world.chance.millis(0, 60_000);
                self.world.note("message back after its delete", || handle.clone());
            } else {
                state.messages.remove(&number);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Lets a message wait, if the handle is its latest.
    fn defer(&self, deferral: &Deferral) {
        let until = self.world.elapsed() + deferral.wait;
        let mut state = self.state();
        for held in state.messages.values_mut().filter(|held| held.handle == deferral.receipt_handle) {
            held.visible_at = until;
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

/// A queue as an environment calls it.
#[derive(Clone)]
pub(crate) struct QueuePort {
    pub(crate) env: Arc<Env>,
    pub(crate) queue: Arc<SimQueue>,
}

fn cause(trouble: Trouble) -> Cause {
    match trouble {
        Trouble::Throttled => Cause::Throttled,
        Trouble::Unavailable => Cause::Unavailable,
        Trouble::TimedOut => Cause::TimedOut,
    }
}

impl EventQueue for QueuePort {
    async fn send(&self, batch: &[Entry]) -> Result<Vec<usize>, QueueError> {
        let world = &self.env.world;
        let refused: Vec<usize> = (0..batch.len()).filter(|_| world.befalls(world.scenario.trouble / 2.0)).collect();
        if !refused.is_empty() {
            self.env.troubled_by(Service::Queue);
            world.note("entries of a batch refused", || format!("{} {refused:?}", self.env.name));
        }
        let taken: Vec<Entry> =
            batch.iter().enumerate().filter(|(n, _)| !refused.contains(n)).map(|(_, e)| e.clone()).collect();
        let queue = Arc::clone(&self.queue);
        let sent = self.env.call(Service::Queue, "send", move || {
            for entry in &taken {
                queue.push(&entry.body, &entry.group, None);
            }
        });
        sent.await.map_err(|trouble| QueueError::Call(format!("{trouble:?}").into()))?;
        Ok(refused)
    }
}

impl Queue for QueuePort {
    async fn defer(&self, deferrals: &[Deferral]) -> Result<(), Cause> {
        let (queue, deferrals) = (Arc::clone(&self.queue), deferrals.to_vec());
        let deferred =
            self.env.call(Service::Queue, "defer", move || deferrals.iter().for_each(|one| queue.defer(one)));
        deferred.await.map_err(cause)
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<(), Cause> {
        // The call fails as a whole where one of its entries is refused, though the others are there.
        let world = &self.env.world;
        let refused: Vec<bool> = messages.iter().map(|_| world.befalls(world.scenario.trouble / 2.0)).collect();
        let (queue, messages, lacking) = (Arc::clone(&self.queue), messages.to_vec(), refused.contains(&true));
        let sent = self.env.call(Service::Queue, "send", move || {
            for (message, _) in messages.iter().zip(&refused).filter(|(_, refused)| !**refused) {
                queue.push(
                    &message.body,
                    &message.group,
                    message.redrive.as_ref().map(consume::redrive::Redrive::encode),
                );
            }
        });
        sent.await.map_err(cause)?;
        if lacking { Err(Cause::Throttled) } else { Ok(()) }
    }
}
