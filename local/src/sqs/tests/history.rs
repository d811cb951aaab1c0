//! Random histories: whatever is called in whatever order, no message is lost or in two places, and replaying the
//! changes gives the state.

use std::collections::BTreeSet;

use super::super::receive::mix;
use super::*;

const QUEUES: [&str; 3] = ["q", "dlq", "f.fifo"];

/// A random history over a standard queue with a dead-letter queue, and a FIFO queue.
struct History {
    seed: u64,
    now: i64,
    queues: Queues,
    changes: Vec<super::super::change::Change>,
    /// Bodies of the messages that must still be somewhere.
    alive: BTreeSet<String>,
    /// Queue, receipt handle and body of every delivery, in order.
    handles: Vec<(&'static str, String, String)>,
}

impl History {
    fn new(seed: u64) -> History {
        let mut queues = empty();
        queues.keep_changes();
        queues.create_queue(START, "dlq", &pairs(&[]), BTreeMap::new()).unwrap();
        let policy = redrive_policy("dlq", 2);
        let given = pairs(&[("RedrivePolicy", &policy), ("VisibilityTimeout", "5")]);
        queues.create_queue(START, "q", &given, BTreeMap::new()).unwrap();
        queues.create_queue(START, "f.fifo", &pairs(&[("FifoQueue", "true")]), BTreeMap::new()).unwrap();
        let (changes, alive, handles) = (Vec::new(), BTreeSet::new(), Vec::new());
        History { seed, now: START, queues, changes, alive, handles }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.seed = mix(self.seed);
        usize::try_from(self.seed % below as u64).unwrap()
    }

    fn step(&mut self, number: usize) {
        let queue = QUEUES[self.pick(3)];
        match self.pick(8) {
            0 | 1 => {
                let body = format!("m{number}");
                let group = Some(format!("g{}", self.pick(3)));
                let fifo = queue == "f.fifo";
                let deduplication_id = fifo.then(|| body.clone());
                let delay_seconds = (!fifo && self.pick(3) == 0).then_some(4);
                let message = NewMessage { group, deduplication_id, delay_seconds, ..NewMessage::of(&body) };
                self.queues.send(self.now, queue, message).unwrap();
                self.alive.insert(body);
            }
            2 | 3 => {
                let max_messages = Some(1 + self.pick(10) as i64);
                let asked = Receive { max_messages, ..Receive::default() };
                for received in self.queues.receive(self.now, queue, &asked).unwrap() {
                    self.handles.push((queue, received.receipt_handle, received.message.body));
                }
            }
            4 if !self.handles.is_empty() => {
                let index = self.pick(self.handles.len());
                let (queue, handle, body) = self.handles[index].clone();
                let before = self.places(&body);
                // A FIFO queue refuses an expired handle; the other outcomes show in the places.
                let _ = self.queues.delete(self.now, queue, &handle);
                if before == 1 && self.places(&body) == 0 {
                    self.alive.remove(&body);
                    let latest = self.handles.iter().rposition(|(_, _, of)| *of == body);
                    assert_eq!(latest, Some(index), "only the latest handle deletes");
                }
            }
            5 if !self.handles.is_empty() => {
                let index = self.pick(self.handles.len());
                let (queue, handle, _) = self.handles[index].clone();
                let seconds = self.pick(8) as i64;
                let _ = self.queues.change_visibility(self.now, queue, &handle, seconds);
            }
            6 => {
                let rate = Some(1 + self.pick(3) as i64);
                let to = queue_arn("q");
                let _ = self.queues.start_move_task(self.now, &queue_arn("dlq"), Some(&to), rate);
            }
            _ => self.now += 1_000 * self.pick(4) as i64,
        }
        self.queues.run_move_tasks(self.now);
    }

    fn places(&self, body: &str) -> usize {
        let everywhere = QUEUES.iter().flat_map(|queue| self.queues.queues[*queue].backlog.messages());
        everywhere.filter(|message| message.body == body).count()
    }

    fn check(&mut self) {
        let everywhere = QUEUES.iter().flat_map(|queue| self.queues.queues[*queue].backlog.messages());
        let mut bodies: Vec<String> = everywhere.map(|message| message.body.clone()).collect();
        bodies.sort();
        assert_eq!(bodies, self.alive.iter().cloned().collect::<Vec<_>>());
        for queue in QUEUES {
            let (visible, in_flight, delayed) = counts(&mut self.queues, self.now, queue);
            assert_eq!(visible + in_flight + delayed, self.queues.queues[queue].backlog.messages().count());
        }
    }

    fn replay(&mut self) {
        self.changes.extend(self.queues.take_changes());
        let mut replayed = empty();
        for change in &self.changes {
            // Through JSON, as the journal has it.
            let line = serde_json::to_string(change).unwrap();
            replayed.apply(serde_json::from_str(&line).unwrap()).unwrap();
        }
        assert_eq!(replayed.snapshot(), self.queues.snapshot());
        let mut compacted = empty();
        // A compacted journal's header says this, for the messages with the latest places may be gone.
        compacted.count_past(self.queues.next_seq() - 1);
        for change in self.queues.snapshot() {
            compacted.apply(change).unwrap();
        }
        // The same is deliverable from all three.
        for queue in QUEUES {
            let expected = counts(&mut self.queues, self.now, queue);
            assert_eq!(counts(&mut replayed, self.now, queue), expected);
            assert_eq!(counts(&mut compacted, self.now, queue), expected);
            let delivered = receive(&mut self.queues, self.now, queue);
            assert_eq!(receive(&mut replayed, self.now, queue), delivered);
            assert_eq!(receive(&mut compacted, self.now, queue), delivered);
            for received in delivered {
                self.handles.push((queue, received.receipt_handle, received.message.body));
            }
        }
    }
}

#[test]
fn in_any_history_no_message_is_lost_or_in_two_places_and_replay_gives_the_state() {
    for seed in 0..60 {
        let mut history = History::new(seed);
        for number in 0..300 {
            history.step(number);
            history.check();
            if number % 50 == 49 {
                history.replay();
            }
        }
    }
}
