//! The actions: from a request's JSON through the state machine to the reply's JSON.

use serde_json::{Map, Value, json};

use super::batch::{Batch, Entry, check_entries};
use super::error::{Code, Refusal};
use super::faults::Planned;
use super::listing::Page;
use super::move_tasks::{MoveTask, TaskStatus};
use super::names::{FIFO_SUFFIX, queue_arn};
use super::poll;
use super::receive::Receive;
use super::selection::{Selection, sequence_number};
use super::send::{NewMessage, Sent};
use super::server::Shared;
use super::wire::{
    Action, BatchRequest, MoveTaskRequest, QueueRequest, ReceiveRequest, SendRequest, SettleRequest, parse, queue_of,
    required,
};

/// Carries out a call and returns the reply's body.
pub(crate) async fn perform(shared: &Shared, action: Action, body: &[u8], planned: &Planned) -> Result<Value, Refusal> {
    match action {
        Action::SendMessage => send(shared, parse(body)?),
        Action::SendMessageBatch => send_batch(shared, parse(body)?, planned),
        Action::ReceiveMessage => receive(shared, parse(body)?, planned).await,
        Action::DeleteMessage => delete(shared, parse(body)?),
        Action::DeleteMessageBatch => delete_batch(shared, parse(body)?, planned),
        Action::ChangeMessageVisibility => change_visibility(shared, parse(body)?),
        Action::ChangeMessageVisibilityBatch => change_visibility_batch(shared, parse(body)?, planned),
        Action::StartMessageMoveTask => start_move_task(shared, parse(body)?),
        Action::ListMessageMoveTasks => list_move_tasks(shared, parse(body)?),
        Action::CancelMessageMoveTask => cancel_move_task(shared, parse(body)?),
        Action::CreateQueue => create_queue(shared, parse(body)?),
        Action::GetQueueUrl => get_queue_url(shared, parse(body)?),
        Action::ListQueues => list_queues(shared, parse(body)?),
        Action::ListDeadLetterSourceQueues => list_sources(shared, &parse(body)?),
        Action::GetQueueAttributes => get_attributes(shared, parse(body)?),
        Action::SetQueueAttributes => {
            let (queue, mut request) = about_queue(body)?;
            let attributes = required("Attributes", request.attributes.take())?;
            done(shared.with(|queues, now_ms| queues.set_queue_attributes(now_ms, &queue, &attributes)))
        }
        Action::DeleteQueue => {
            let (queue, _) = about_queue(body)?;
            done(shared.with(|queues, now_ms| queues.delete_queue(now_ms, &queue)))
        }
        Action::PurgeQueue => {
            let (queue, _) = about_queue(body)?;
            done(shared.with(|queues, now_ms| queues.purge_queue(now_ms, &queue)))
        }
        Action::ListQueueTags => {
            let (queue, _) = about_queue(body)?;
            Ok(json!({"Tags": shared.with(|queues, _| queues.tags(&queue).cloned())?}))
        }
        Action::TagQueue => {
            let (queue, mut request) = about_queue(body)?;
            let tags = required("Tags", request.tags.take())?;
            done(shared.with(|queues, _| queues.tag_queue(&queue, tags)))
        }
        Action::UntagQueue => {
            let (queue, mut request) = about_queue(body)?;
            let keys = required("TagKeys", request.tag_keys.take())?;
            done(shared.with(|queues, _| queues.untag_queue(&queue, &keys)))
        }
    }
}

fn done(outcome: Result<(), Refusal>) -> Result<Value, Refusal> {
    outcome.map(|()| json!({}))
}

fn about_queue(body: &[u8]) -> Result<(String, QueueRequest), Refusal> {
    let request: QueueRequest = parse(body)?;
    Ok((queue_of(request.queue_url.as_ref())?, request))
}

fn create_queue(shared: &Shared, request: QueueRequest) -> Result<Value, Refusal> {
    let name = required("QueueName", request.queue_name)?;
    let (attributes, tags) = (request.attributes.unwrap_or_default(), request.tags.unwrap_or_default());
    shared.with(|queues, now_ms| queues.create_queue(now_ms, &name, &attributes, tags))?;
    Ok(json!({"QueueUrl": shared.queue_url(&name)}))
}

fn get_queue_url(shared: &Shared, request: QueueRequest) -> Result<Value, Refusal> {
    let name = required("QueueName", request.queue_name)?;
    match shared.with(|queues, _| Ok(queues.has_queue(&name)))? {
        true => Ok(json!({"QueueUrl": shared.queue_url(&name)})),
        false => Err(Refusal::no_queue()),
    }
}

fn list_queues(shared: &Shared, request: QueueRequest) -> Result<Value, Refusal> {
    let prefix = request.queue_name_prefix.unwrap_or_default();
    let token = request.next_token.as_deref();
    let page = shared.with(|queues, _| queues.list_queues(&prefix, request.max_results, token))?;
    Ok(page_reply(shared, "QueueUrls", page))
}

fn list_sources(shared: &Shared, request: &QueueRequest) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let token = request.next_token.as_deref();
    let page = shared.with(|queues, _| queues.dead_letter_sources(&queue, request.max_results, token))?;
    // AWS spells this list with a small letter, unlike the other.
    Ok(page_reply(shared, "queueUrls", page))
}

fn get_attributes(shared: &Shared, request: QueueRequest) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let asked = request.attribute_names.unwrap_or_default();
    let found = shared.with(|queues, now_ms| queues.queue_attributes(now_ms, &queue, &asked))?;
    Ok(if found.is_empty() { json!({}) } else { json!({"Attributes": found}) })
}

fn page_reply(shared: &Shared, list: &str, page: Page) -> Value {
    let urls: Vec<String> = page.names.iter().map(|name| shared.queue_url(name)).collect();
    let mut reply = Map::from_iter([(list.to_owned(), json!(urls))]);
    reply.extend(page.next_token.map(|token| ("NextToken".to_owned(), Value::String(token))));
    Value::Object(reply)
}

fn sent_reply(sent: Sent) -> Map<String, Value> {
    let fields = [
        ("MessageId", Some(sent.message_id)),
        ("MD5OfMessageBody", Some(sent.md5_of_body)),
        ("MD5OfMessageAttributes", sent.md5_of_attributes),
        ("MD5OfMessageSystemAttributes", sent.md5_of_system_attributes),
        ("SequenceNumber", sent.sequence_number.map(sequence_number)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect()
}

fn send(shared: &Shared, mut request: SendRequest) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.take().as_ref())?;
    let message = request.into_message();
    let sent = shared.with(|queues, now_ms| queues.send(now_ms, &queue, message))?;
    Ok(Value::Object(sent_reply(sent)))
}

fn send_batch(shared: &Shared, request: BatchRequest<SendRequest>, planned: &Planned) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let entries = request.entries.unwrap_or_default().into_iter();
    let entries = entries.map(|mut entry| (entry.id.take().unwrap_or_default(), entry.into_message())).collect();
    let batch = spare(planned, entries, |entries: Vec<Entry<NewMessage>>| {
        shared.with(|queues, now_ms| queues.send_batch(now_ms, &queue, entries))
    })?;
    Ok(batch_reply(batch, sent_reply))
}

fn delete(shared: &Shared, request: SettleRequest) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let handle = required("ReceiptHandle", request.receipt_handle)?;
    done(shared.with(|queues, now_ms| queues.delete(now_ms, &queue, &handle)))
}

fn change_visibility(shared: &Shared, request: SettleRequest) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let handle = required("ReceiptHandle", request.receipt_handle)?;
    let seconds = required("VisibilityTimeout", request.visibility_timeout)?;
    done(shared.with(|queues, now_ms| queues.change_visibility(now_ms, &queue, &handle, seconds)))
}

fn delete_batch(shared: &Shared, request: BatchRequest<SettleRequest>, planned: &Planned) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let entries = request.entries.unwrap_or_default().into_iter();
    let entries = entries.map(|entry| (entry.id.unwrap_or_default(), entry.receipt_handle.unwrap_or_default()));
    let batch = spare(planned, entries.collect(), |entries| {
        shared.with(|queues, now_ms| queues.delete_batch(now_ms, &queue, entries))
    })?;
    Ok(batch_reply(batch, |()| Map::new()))
}

fn change_visibility_batch(
    shared: &Shared,
    request: BatchRequest<SettleRequest>,
    planned: &Planned,
) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let mut entries = Vec::new();
    for entry in request.entries.unwrap_or_default() {
        let seconds = required("VisibilityTimeout", entry.visibility_timeout)?;
        entries.push((entry.id.unwrap_or_default(), (entry.receipt_handle.unwrap_or_default(), seconds)));
    }
    let batch = spare(planned, entries, |entries| {
        shared.with(|queues, now_ms| queues.change_visibility_batch(now_ms, &queue, entries))
    })?;
    Ok(batch_reply(batch, |()| Map::new()))
}

/// Carries out a batch without the entries that a fault picks, and tells of these as the service's failures.
fn spare<T, R>(
    planned: &Planned,
    entries: Vec<Entry<T>>,
    carry_out: impl FnOnce(Vec<Entry<T>>) -> Result<Batch<R>, Refusal>,
) -> Result<Batch<R>, Refusal> {
    check_entries(&entries)?;
    let (mut picked, mut kept) = (Vec::new(), Vec::new());
    for (index, entry) in entries.into_iter().enumerate() {
        match planned.failed_entries.contains(&index) {
            true => picked.push(entry.0),
            false => kept.push(entry),
        }
    }
    let mut batch = if kept.is_empty() && !picked.is_empty() { Vec::new() } else { carry_out(kept)? };
    let failure = Refusal::new(Code::InternalError, "The entry could not be carried out; try it again.");
    batch.extend(picked.into_iter().map(|id| (id, Err(failure.clone()))));
    Ok(batch)
}

fn batch_reply<T>(batch: Batch<T>, render: impl Fn(T) -> Map<String, Value>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, outcome) in batch {
        match outcome {
            Ok(outcome) => {
                let mut entry = render(outcome);
                entry.insert("Id".to_owned(), Value::String(id));
                successful.push(Value::Object(entry));
            }
            Err(refusal) => failed.push(json!({
                "Id": id,
                "Code": refusal.code.query_code(),
                "Message": refusal.message,
                "SenderFault": refusal.code.is_sender_fault(),
            })),
        }
    }
    json!({"Successful": successful, "Failed": failed})
}

async fn receive(shared: &Shared, mut request: ReceiveRequest, planned: &Planned) -> Result<Value, Refusal> {
    let queue = queue_of(request.queue_url.as_ref())?;
    let selection = Selection::of(&mut request)?;
    let receive = Receive {
        max_messages: request.max_number_of_messages,
        visibility_timeout_seconds: request.visibility_timeout,
        order: planned.order,
    };
    let received = poll::receive(shared, &queue, &receive, request.wait_time_seconds).await?;
    if received.is_empty() {
        return Ok(json!({}));
    }
    let fifo = queue.ends_with(FIFO_SUFFIX);
    let messages: Vec<Value> = received.iter().map(|received| selection.render(received, fifo)).collect();
    Ok(json!({"Messages": messages}))
}

fn start_move_task(shared: &Shared, request: MoveTaskRequest) -> Result<Value, Refusal> {
    let source = required("SourceArn", request.source_arn)?;
    let (destination, rate) = (request.destination_arn.as_deref(), request.max_number_of_messages_per_second);
    let handle = shared.with(|queues, now_ms| queues.start_move_task(now_ms, &source, destination, rate))?;
    Ok(json!({"TaskHandle": handle}))
}

fn list_move_tasks(shared: &Shared, request: MoveTaskRequest) -> Result<Value, Refusal> {
    let source = required("SourceArn", request.source_arn)?;
    let tasks = shared.with(|queues, now_ms| queues.move_tasks(now_ms, &source, request.max_results))?;
    Ok(json!({"Results": tasks.iter().map(task_reply).collect::<Vec<_>>()}))
}

fn cancel_move_task(shared: &Shared, request: MoveTaskRequest) -> Result<Value, Refusal> {
    let handle = required("TaskHandle", request.task_handle)?;
    let moved = shared.with(|queues, now_ms| queues.cancel_move_task(now_ms, &handle))?;
    Ok(json!({"ApproximateNumberOfMessagesMoved": moved}))
}

fn task_reply(task: &MoveTask) -> Value {
    let mut reply = json!({
        "Status": task.status.name(),
        "SourceArn": queue_arn(&task.source),
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": task.started_ms,
    });
    // SQS gives the handle only while there is something to cancel.
    if task.status == TaskStatus::Running {
        reply["TaskHandle"] = task.handle().into();
    }
    if let Some(destination) = &task.destination {
        reply["DestinationArn"] = queue_arn(destination).into();
    }
    if let Some(rate) = task.rate {
        reply["MaxNumberOfMessagesPerSecond"] = rate.into();
    }
    if let Some(failure) = &task.failure {
        reply["FailureReason"] = failure.as_str().into();
    }
    reply
}
