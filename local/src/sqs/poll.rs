//! Long polling: a receive that finds nothing waits until a message arrives or becomes visible, its time is over, or
//! the server stops. It holds no lock while it waits.

use std::pin::pin;
use std::time::Duration;

use super::error::{Code, Refusal};
use super::limits::RECEIVE_MESSAGES;
use super::queues::Queues;
use super::receive::{Receive, Received};
use super::server::Shared;

/// Shortest real time between two looks: with a clock that is set by hand, a deadline may be reached and not move on.
const LOOK_INTERVAL_MIN_MS: i64 = 5;
/// Longest real time between two looks, which is also the longest wait.
const LOOK_INTERVAL_MAX_MS: i64 = 20_000;

/// Receives, waiting as long as asked or as the queue says. The wait is measured by the server's clock, so with one
/// that is set by hand it ends when that has moved and the server was poked.
pub(crate) async fn receive(
    shared: &Shared,
    queue: &str,
    receive: &Receive,
    wait_seconds: Option<i64>,
) -> Result<Vec<Received>, Refusal> {
    let mut stopping = shared.stopping();
    let mut until_ms = None;
    loop {
        let arrival = shared.arrival(queue)?;
        let mut arrived = pin!(arrival.notified());
        // Registered before looking, so that what arrives between the look and the wait is not missed.
        arrived.as_mut().enable();
        let look = shared.with(|queues, now_ms| {
            let wait_seconds = queues.wait_seconds(queue, wait_seconds)?;
            let until_ms = *until_ms.get_or_insert(now_ms + wait_seconds * 1_000);
            let found = match look(shared, queues, now_ms, queue, receive) {
                // A long poll that meets the limit of messages in flight returns nothing rather than an error.
                Err(refusal) if refusal.code == Code::OverLimit && wait_seconds > 0 => Vec::new(),
                found => found?,
            };
            let next_ms = queues.next_visible_ms(now_ms, queue)?.unwrap_or(until_ms).min(until_ms);
            Ok((found, until_ms <= now_ms, next_ms - now_ms))
        });
        let (found, over, pause_ms) = look?;
        if !found.is_empty() || over || *stopping.borrow() {
            return Ok(found);
        }
        let pause_ms = pause_ms.clamp(LOOK_INTERVAL_MIN_MS, LOOK_INTERVAL_MAX_MS).unsigned_abs();
        tokio::select! {
            () = arrived => {}
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            _ = stopping.changed() => {}
        }
    }
}

/// Looks once: deliveries that a fault repeats, then messages.
fn look(
    shared: &Shared,
    queues: &mut Queues,
    now_ms: i64,
    queue: &str,
    receive: &Receive,
) -> Result<Vec<Received>, Refusal> {
    let max = receive.max_messages.unwrap_or(1).clamp(RECEIVE_MESSAGES.0, RECEIVE_MESSAGES.1);
    let echoes = shared.faults.take_echoes(queue, usize::try_from(max).unwrap_or(1));
    let mut found = Vec::new();
    for echo in &echoes {
        found.push(queues.deliver_again(now_ms, queue, echo)?);
    }
    if echoes.is_empty() {
        found = queues.receive(now_ms, queue, receive)?;
        if shared.faults.note_delivery(queue, &found) {
            shared.wake(queue);
        }
    }
    Ok(found)
}
