//! Receiving: which messages come next, how each receive counts, and the move to the dead-letter queue of those that
//! were received too often.

use super::change::Change;
use super::error::{Code, Refusal, in_range};
use super::limits::{IN_FLIGHT_MAX, MOVES_PER_RECEIVE_MAX, RECEIVE_MESSAGES, VISIBILITY_SECONDS, WAIT_SECONDS};
use super::message::{Message, ReceiptHandle};
use super::names::queue_name_of_arn;
use super::queues::Queues;

/// In which order a standard queue's messages are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first, quiet message groups before noisy ones.
    #[default]
    Oldest,
    /// Chosen by a seed among the oldest, as SQS may: a standard queue promises no order.
    Shuffled(u64),
}

/// What to receive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Receive {
    /// At most this many messages, 1 to 10; 1 where `None`.
    pub max_messages: Option<i64>,
    /// How long they are hidden, in seconds; the queue's time-out where `None`.
    pub visibility_timeout_seconds: Option<i64>,
    /// In which order.
    pub order: Order,
}

/// A message as delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message, this receive already counted.
    pub message: Message,
    /// What to delete it by, or to change its visibility by.
    pub receipt_handle: String,
}

impl Queues {
    /// Delivers messages that are visible now; none is no error. Waiting is the caller's: see
    /// [`Queues::next_visible_ms`].
    ///
    /// # Errors
    /// Refuses parameters out of range, and `OverLimit` while 120,000 messages are in flight.
    pub fn receive(&mut self, now_ms: i64, queue_name: &str, receive: &Receive) -> Result<Vec<Received>, Refusal> {
        let max = in_range("MaxNumberOfMessages", receive.max_messages.unwrap_or(1), RECEIVE_MESSAGES)?;
        let max = usize::try_from(max).unwrap_or(1);
        let timeout = receive.visibility_timeout_seconds;
        timeout.map(|seconds| in_range("VisibilityTimeout", seconds, VISIBILITY_SECONDS)).transpose()?;
        let queue = self.settle(now_ms, queue_name)?;
        let visible_at_ms = now_ms + timeout.unwrap_or(queue.attributes.visibility_timeout_seconds) * 1_000;
        let in_flight = queue.backlog.in_flight_count();
        if in_flight >= IN_FLIGHT_MAX {
            return Err(Refusal::new(Code::OverLimit, format!("Too many messages in flight for {queue_name}.")));
        }
        let policy = queue.attributes.redrive_policy.clone();
        let mut received = Vec::new();
        let mut moves = 0;
        let mut order = receive.order;
        let max = max.min(IN_FLIGHT_MAX - in_flight);
        while received.len() < max && moves < MOVES_PER_RECEIVE_MAX {
            let chosen = self.choose(queue_name, max - received.len(), &mut order);
            if chosen.is_empty() {
                break;
            }
            for seq in chosen {
                let dead_letter_queue = policy.as_ref().and_then(|policy| {
                    let count = i64::from(self.message(queue_name, seq)?.receive_count);
                    let target = queue_name_of_arn(&policy.dead_letter_target_arn)?;
                    // If the dead-letter queue was deleted, the message stays: it must not be lost.
                    (count >= policy.max_receive_count && self.has_queue(target)).then(|| target.to_owned())
                });
                match dead_letter_queue {
                    Some(target) => {
                        moves += 1;
                        self.dead_letter(now_ms, queue_name, seq, target);
                    }
                    None => received.extend(self.deliver(now_ms, queue_name, seq, visible_at_ms)),
                }
            }
        }
        Ok(received)
    }

    fn choose(&self, queue: &str, limit: usize, order: &mut Order) -> Vec<u64> {
        let Some(queue) = self.queues.get(queue) else { return Vec::new() };
        match order {
            Order::Oldest => queue.backlog.next(limit),
            Order::Shuffled(seed) => {
                *seed = mix(*seed);
                queue.backlog.next_shuffled(*seed)
            }
        }
    }

    fn message(&self, queue: &str, seq: u64) -> Option<&Message> {
        self.queues.get(queue)?.backlog.get(seq)
    }

    fn deliver(&mut self, now_ms: i64, queue: &str, seq: u64, visible_at_ms: i64) -> Option<Received> {
        self.commit(Change::Received { queue: queue.to_owned(), seq, at_ms: now_ms, visible_at_ms });
        let message = self.message(queue, seq)?.clone();
        let receipt_handle = ReceiptHandle::of(queue, &message).encode();
        Some(Received { message, receipt_handle })
    }

    fn dead_letter(&mut self, now_ms: i64, queue: &str, seq: u64, target: String) {
        let target_seq = self.next_seq();
        self.commit(Change::DeadLettered { queue: queue.to_owned(), seq, target, target_seq, at_ms: now_ms });
    }

    /// Delivers a message again although it was just received, as a standard queue may. If it was deleted meanwhile, a
    /// copy is delivered all the same: SQS warns of that too, and deleting the copy has no effect.
    ///
    /// # Errors
    /// Refuses a queue that does not exist.
    pub fn deliver_again(&mut self, now_ms: i64, queue: &str, earlier: &Received) -> Result<Received, Refusal> {
        let settled = self.settle(now_ms, queue)?;
        let visible_at_ms = now_ms + settled.attributes.visibility_timeout_seconds * 1_000;
        let seq = earlier.message.seq;
        let again = match settled.backlog.get(seq).is_some_and(|message| message.id == earlier.message.id) {
            true => self.deliver(now_ms, queue, seq, visible_at_ms),
            false => None,
        };
        Ok(again.unwrap_or_else(|| {
            let mut message = earlier.message.clone();
            message.receive_count += 1;
            let receipt_handle = ReceiptHandle::of(queue, &message).encode();
            Received { message, receipt_handle }
        }))
    }

    /// When a receive that found nothing should look again, if nothing arrives before; `None` if there is no such time.
    ///
    /// # Errors
    /// Refuses a queue that does not exist.
    pub fn next_visible_ms(&self, now_ms: i64, queue: &str) -> Result<Option<i64>, Refusal> {
        Ok(self.queues.get(queue).ok_or_else(Refusal::no_queue)?.backlog.next_visible_ms(now_ms))
    }

    /// How long a receive may wait, in seconds: as asked, or as the queue says.
    ///
    /// # Errors
    /// Refuses what is outside 0 to 20.
    pub fn wait_seconds(&self, queue: &str, asked: Option<i64>) -> Result<i64, Refusal> {
        let queue = self.queues.get(queue).ok_or_else(Refusal::no_queue)?;
        in_range("WaitTimeSeconds", asked.unwrap_or(queue.attributes.receive_wait_seconds), WAIT_SECONDS)
    }
}

/// The next number of a seeded sequence (SplitMix64): enough to choose by, and the same on every machine.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
