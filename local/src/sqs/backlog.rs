//! The messages of one queue and the indexes over them: what is visible by group and age, what is delayed or in flight
//! by deadline, what expires next. Every operation is logarithmic in the backlog.

use std::collections::{BTreeSet, HashMap};

use super::limits::{NOISY_IN_FLIGHT_MIN, SHUFFLE_WINDOW};
use super::message::Message;

/// Where a message stands in the order of delivery.
type Rank = (i64, u64);

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    fifo: bool,
    messages: HashMap<u64, Message>,
    /// Never received here and not yet visible, by when it will be.
    delayed: BTreeSet<(i64, u64)>,
    /// Received and not yet visible again, by when it will be.
    in_flight: BTreeSet<(i64, u64)>,
    by_age: BTreeSet<(i64, u64)>,
    /// Messages without a group are all under the empty name, which no group can have.
    groups: HashMap<String, Group>,
    /// The first deliverable message of each group that has one, so that a blocked group costs a receive nothing.
    heads: BTreeSet<(Rank, String)>,
}

#[derive(Debug, Default)]
struct Group {
    /// Every message of the group, for a FIFO queue's order; empty in a standard queue.
    all: BTreeSet<Rank>,
    visible: BTreeSet<Rank>,
    in_flight: usize,
    head: Option<Rank>,
}

impl Backlog {
    pub(crate) fn new(fifo: bool) -> Backlog {
        Backlog { fifo, ..Backlog::default() }
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Message> {
        self.messages.get(&seq)
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values()
    }

    pub(crate) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn delayed_count(&self) -> usize {
        self.delayed.len()
    }

    pub(crate) fn visible_count(&self) -> usize {
        self.messages.len() - self.in_flight.len() - self.delayed.len()
    }

    pub(crate) fn is_in_flight(&self, seq: u64) -> bool {
        self.messages.get(&seq).is_some_and(|message| self.in_flight.contains(&(message.visible_at_ms, seq)))
    }

    pub(crate) fn clear(&mut self) {
        *self = Backlog::new(self.fifo);
    }

    /// Adds a message. It is visible at once only if it was never hidden; else [`Backlog::reveal`] decides.
    pub(crate) fn insert(&mut self, message: Message) {
        let (seq, rank, group) = (message.seq, self.rank(&message), group_of(&message));
        self.by_age.insert((message.sent_ms, seq));
        let entry = self.groups.entry(group.clone()).or_default();
        if self.fifo {
            entry.all.insert(rank);
        }
        if message.received_ms.is_some() {
            entry.in_flight += 1;
            self.in_flight.insert((message.visible_at_ms, seq));
        } else if message.visible_at_ms > message.sent_ms {
            self.delayed.insert((message.visible_at_ms, seq));
        } else {
            entry.visible.insert(rank);
        }
        self.messages.insert(seq, message);
        self.relist(&group);
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Message> {
        let message = self.messages.get(&seq)?;
        let (rank, group) = (self.rank(message), group_of(message));
        self.by_age.remove(&(message.sent_ms, seq));
        let deadline = (message.visible_at_ms, seq);
        self.delayed.remove(&deadline);
        let was_in_flight = self.in_flight.remove(&deadline);
        if let Some(entry) = self.groups.get_mut(&group) {
            entry.all.remove(&rank);
            entry.visible.remove(&rank);
            entry.in_flight -= usize::from(was_in_flight);
        }
        self.relist(&group);
        self.messages.remove(&seq)
    }

    /// Changes a message through a function, keeping the indexes true: it leaves them and enters them again.
    pub(crate) fn change(&mut self, seq: u64, change: impl FnOnce(&mut Message)) -> bool {
        let Some(mut message) = self.remove(seq) else { return false };
        change(&mut message);
        self.insert(message);
        true
    }

    /// Makes visible what was hidden until now or earlier.
    pub(crate) fn reveal(&mut self, now_ms: i64) {
        while let Some(&(due_ms, seq)) = self.delayed.first().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.delayed.remove(&(due_ms, seq));
            self.show(seq, false);
        }
        while let Some(&(due_ms, seq)) = self.in_flight.first().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.in_flight.remove(&(due_ms, seq));
            self.show(seq, true);
        }
    }

    fn show(&mut self, seq: u64, was_in_flight: bool) {
        let message = self.messages.get(&seq).expect("an indexed message is in the backlog");
        let (rank, group) = (self.rank(message), group_of(message));
        let entry = self.groups.entry(group.clone()).or_default();
        entry.visible.insert(rank);
        entry.in_flight -= usize::from(was_in_flight);
        self.relist(&group);
    }

    /// Whether a message was sent at that time or earlier.
    pub(crate) fn has_sent_until(&self, sent_ms: i64) -> bool {
        self.by_age.first().is_some_and(|(oldest_ms, _)| *oldest_ms <= sent_ms)
    }

    /// Removes every message that was sent at that time or earlier.
    pub(crate) fn remove_sent_until(&mut self, sent_ms: i64) {
        while let Some(&(_, seq)) = self.by_age.first().filter(|(oldest_ms, _)| *oldest_ms <= sent_ms) {
            self.remove(seq);
        }
    }

    /// When a receive that found nothing should look again: at once if something is deliverable, else when the first
    /// hidden message becomes visible. `None` if nothing is hidden.
    pub(crate) fn next_visible_ms(&self, now_ms: i64) -> Option<i64> {
        if !self.heads.is_empty() {
            return Some(now_ms);
        }
        let firsts = [self.delayed.first(), self.in_flight.first()];
        firsts.into_iter().flatten().map(|(due_ms, _)| *due_ms).min()
    }

    /// The messages to deliver next, at most `limit`: in a standard queue one, the oldest of a quiet group; in a FIFO
    /// queue the head of a group and what follows it without a gap.
    pub(crate) fn next(&self, limit: usize) -> Vec<u64> {
        if self.fifo {
            let Some((_, group)) = self.heads.first() else { return Vec::new() };
            let group = &self.groups[group];
            return group.all.iter().take_while(|rank| group.visible.contains(rank)).take(limit).map(|r| r.1).collect();
        }
        // At most nine groups can each hold more than a tenth of what is in flight, so this skips at most nine.
        let quiet = self.heads.iter().find(|(_, group)| !self.is_noisy(group));
        quiet.or(self.heads.first()).map(|((_, seq), _)| *seq).into_iter().collect()
    }

    /// A message chosen by a number among the oldest: a standard queue's order is only roughly that of sending.
    pub(crate) fn next_shuffled(&self, random: u64) -> Vec<u64> {
        if self.fifo || self.heads.is_empty() {
            return self.next(1);
        }
        let pick = |count: usize, random: u64| usize::try_from(random % count as u64).unwrap_or(0);
        let group = self.heads.iter().nth(pick(self.heads.len().min(SHUFFLE_WINDOW), random));
        let visible = group.map(|(_, group)| &self.groups[group].visible);
        let chosen = visible.and_then(|set| set.iter().nth(pick(set.len().min(SHUFFLE_WINDOW), random >> 32)));
        chosen.map(|(_, seq)| *seq).into_iter().collect()
    }

    fn is_noisy(&self, group: &str) -> bool {
        let own = self.groups.get(group).map_or(0, |entry| entry.in_flight);
        !group.is_empty() && own >= NOISY_IN_FLIGHT_MIN && own * 10 > self.in_flight.len()
    }

    /// A FIFO queue delivers in the order of sending whatever a clock did meanwhile; a standard queue by time, so that
    /// a message that returns after its visibility time-out comes before younger ones.
    fn rank(&self, message: &Message) -> Rank {
        (if self.fifo { 0 } else { message.sent_ms }, message.seq)
    }

    /// Brings the group's entry in `heads` up to date, and forgets a group without messages.
    fn relist(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let first = group.visible.first().copied();
        // A FIFO group waits while one of its messages is in flight, and behind a head that is delayed.
        let blocked = self.fifo && (group.in_flight > 0 || group.all.first().copied() != first);
        let head = first.filter(|_| !blocked);
        if head != group.head {
            if let Some(old) = group.head.take() {
                self.heads.remove(&(old, name.to_owned()));
            }
            if let Some(new) = head {
                self.heads.insert((new, name.to_owned()));
            }
            group.head = head;
        }
        if group.visible.is_empty() && group.all.is_empty() && group.in_flight == 0 {
            self.groups.remove(name);
        }
    }
}

fn group_of(message: &Message) -> String {
    message.group.clone().unwrap_or_default()
}
