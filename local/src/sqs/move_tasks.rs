//! Move tasks: redriving a dead-letter queue, to where its messages came from or to one queue, at a bounded rate.

use serde::{Deserialize, Serialize};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::change::Change;
use super::error::{Code, Refusal, in_range};
use super::limits::{MOVE_RATE, MOVE_TASKS_LISTED};
use super::names::{queue_arn, queue_name_of_arn};
use super::queues::Queues;

/// Where a move task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskStatus {
    /// It moves messages.
    Running,
    /// It has moved what there was.
    Completed,
    /// It was stopped; what it had moved stays moved.
    Cancelled,
    /// A message had nowhere to go.
    Failed,
}

impl TaskStatus {
    /// The status as `ListMessageMoveTasks` says it.
    pub fn name(self) -> &'static str {
        match self {
            TaskStatus::Running => "RUNNING",
            TaskStatus::Completed => "COMPLETED",
            TaskStatus::Cancelled => "CANCELLED",
            TaskStatus::Failed => "FAILED",
        }
    }
}

/// A move task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveTask {
    /// Its id, which with the source makes its handle.
    pub id: String,
    /// The name of the dead-letter queue.
    pub source: String,
    /// The name of the queue to move to; `None` sends every message back to where it came from.
    pub destination: Option<String>,
    /// Most messages a second; `None` lets the service choose, which here is the highest rate allowed.
    pub rate: Option<i64>,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// Messages moved so far.
    pub moved: u64,
    /// Messages that there were when it began.
    pub to_move: u64,
    /// When it began, in Unix milliseconds.
    pub started_ms: i64,
    /// Why it failed, in SQS's words.
    pub failure: Option<String>,
}

impl MoveTask {
    /// What to cancel it by.
    pub fn handle(&self) -> String {
        let parts = serde_json::json!({"taskId": self.id, "sourceArn": queue_arn(&self.source)});
        STANDARD.encode(parts.to_string())
    }

    /// How many messages may have been moved by a time: a second's worth at the start of each second.
    fn allowed(&self, now_ms: i64) -> u64 {
        let seconds = (now_ms - self.started_ms).div_euclid(1_000) + 1;
        u64::try_from(seconds * self.rate.unwrap_or(MOVE_RATE.1)).unwrap_or(0).min(self.to_move)
    }
}

impl Queues {
    /// Starts to move a dead-letter queue's messages, and returns the task's handle.
    ///
    /// # Errors
    /// Refuses queues that do not exist, a source that is no dead-letter queue or has a task already, and a rate
    /// outside 1 to 500 messages a second.
    pub fn start_move_task(
        &mut self,
        now_ms: i64,
        source_arn: &str,
        destination_arn: Option<&str>,
        rate: Option<i64>,
    ) -> Result<String, Refusal> {
        let source = self.queue_of("SourceArn", source_arn)?;
        let destination = destination_arn.map(|arn| self.queue_of("DestinationArn", arn)).transpose()?;
        rate.map(|rate| in_range("MaxNumberOfMessagesPerSecond", rate, MOVE_RATE)).transpose()?;
        if self.sources_of(source_arn).next().is_none() {
            return Err(Refusal::invalid("Source queue must be configured as a Dead Letter Queue."));
        }
        if destination.as_ref() == Some(&source) {
            return Err(Refusal::invalid("Source queue arn and destination queue arn cannot be the same."));
        }
        if self.tasks.iter().any(|task| task.source == source && task.status == TaskStatus::Running) {
            return Err(Refusal::new(
                Code::UnsupportedOperation,
                "There is already a task running. Only one active task is allowed for a source queue arn at a given \
                 time.",
            ));
        }
        let to_move = self.depth(now_ms, &source)?.visible as u64;
        let task = MoveTask {
            id: self.fresh_id(),
            source,
            destination,
            rate,
            status: TaskStatus::Running,
            moved: 0,
            to_move,
            started_ms: now_ms,
            failure: None,
        };
        let handle = task.handle();
        self.commit(Change::TaskSet { task });
        self.run_move_tasks(now_ms);
        Ok(handle)
    }

    /// The latest tasks of a dead-letter queue, newest first; `max` is 1 to 10, 1 where `None`.
    ///
    /// # Errors
    /// Refuses a queue that does not exist.
    pub fn move_tasks(&mut self, now_ms: i64, source_arn: &str, max: Option<i64>) -> Result<Vec<MoveTask>, Refusal> {
        let max = in_range("MaxResults", max.unwrap_or(1), MOVE_TASKS_LISTED)?;
        let source = self.queue_of("SourceArn", source_arn)?;
        self.run_move_tasks(now_ms);
        let latest = self.tasks.iter().rev().filter(|task| task.source == source);
        Ok(latest.take(usize::try_from(max).unwrap_or(1)).cloned().collect())
    }

    /// Stops a task, and returns how many messages it moved.
    ///
    /// # Errors
    /// Refuses a handle of no task, and a task that has ended.
    pub fn cancel_move_task(&mut self, now_ms: i64, handle: &str) -> Result<u64, Refusal> {
        self.run_move_tasks(now_ms);
        let Some(task) = self.tasks.iter().find(|task| task.handle() == handle) else {
            return Err(Refusal::new(Code::ResourceNotFound, "Task does not exist."));
        };
        if task.status != TaskStatus::Running {
            return Err(Refusal::new(Code::UnsupportedOperation, "Only active tasks can be cancelled."));
        }
        let task = MoveTask { status: TaskStatus::Cancelled, ..task.clone() };
        let moved = task.moved;
        self.commit(Change::TaskSet { task });
        Ok(moved)
    }

    fn queue_of(&self, parameter: &str, arn: &str) -> Result<String, Refusal> {
        let name = queue_name_of_arn(arn).filter(|name| self.has_queue(name));
        name.map(str::to_owned).ok_or_else(|| {
            let reason = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
            Refusal::new(Code::ResourceNotFound, reason)
        })
    }

    /// Whether a task is running, so that someone must call [`Queues::run_move_tasks`] as time goes by.
    pub fn has_running_task(&self) -> bool {
        self.tasks.iter().any(|task| task.status == TaskStatus::Running)
    }

    /// Moves what the running tasks may have moved by now.
    pub fn run_move_tasks(&mut self, now_ms: i64) {
        let running = self.tasks.iter().filter(|task| task.status == TaskStatus::Running);
        for task in running.cloned().collect::<Vec<_>>() {
            let before = task.clone();
            let after = self.advance(now_ms, task);
            if after != before {
                self.commit(Change::TaskSet { task: after });
            }
        }
    }

    fn advance(&mut self, now_ms: i64, mut task: MoveTask) -> MoveTask {
        if self.settle(now_ms, &task.source).is_err() {
            return fail(task, NO_QUEUE);
        }
        let allowed = task.allowed(now_ms);
        while task.moved < allowed {
            let Some(seq) = self.queues[&task.source].backlog.next(1).first().copied() else {
                // What there was is gone: received by someone else, or expired.
                task.to_move = task.moved;
                break;
            };
            let target = match &task.destination {
                Some(destination) => Ok(destination.clone()),
                None => self.origin_of(&task.source, seq),
            };
            match target.and_then(|name| self.has_queue(&name).then_some(name).ok_or(NO_QUEUE)) {
                Err(reason) => return fail(task, reason),
                Ok(target) => {
                    let (queue, target_seq, message_id) = (task.source.clone(), self.next_seq(), self.fresh_id());
                    self.commit(Change::Redriven { queue, seq, target, target_seq, message_id, at_ms: now_ms });
                    task.moved += 1;
                }
            }
        }
        if task.moved >= task.to_move {
            task.status = TaskStatus::Completed;
        }
        task
    }

    fn origin_of(&self, source: &str, seq: u64) -> Result<String, &'static str> {
        let message = self.queues[source].backlog.get(seq);
        let arn = message.and_then(|message| message.dead_letter_source.as_deref());
        arn.and_then(queue_name_of_arn).map(str::to_owned).ok_or("CouldNotDetermineMessageSource")
    }

    /// Replaces a task or adds it, and forgets the oldest of a source that has more than can be listed.
    pub(crate) fn keep_task(&mut self, task: MoveTask) {
        if let Some(known) = self.tasks.iter_mut().find(|known| known.id == task.id) {
            *known = task;
            return;
        }
        let source = task.source.clone();
        self.tasks.push(task);
        let kept = usize::try_from(MOVE_TASKS_LISTED.1).unwrap_or(usize::MAX);
        if self.tasks.iter().filter(|task| task.source == source).count() > kept
            && let Some(oldest) = self.tasks.iter().position(|task| task.source == source)
        {
            self.tasks.remove(oldest);
        }
    }
}

/// Why a task fails whose source or destination was deleted.
const NO_QUEUE: &str = "AWS.SimpleQueueService.NonExistentQueue";

fn fail(task: MoveTask, reason: &str) -> MoveTask {
    MoveTask { status: TaskStatus::Failed, failure: Some(reason.to_owned()), ..task }
}
