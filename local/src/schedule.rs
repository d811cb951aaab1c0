//! A schedule: invokes a function every so often, as a rule of EventBridge does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use shared::clock::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use uuid::Uuid;

use crate::lambda::{ACCOUNT, InvokeError, Lambda, REGION, epoch_millis, new_trace_root};
use crate::running::{Running, Stop, pause, stopped};

/// Pauses before the second and the third try. EventBridge invokes asynchronously, and Lambda then tries twice more: after
/// a minute, and after two more (Lambda Developer Guide).
const RETRY_PAUSES: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(2)];

/// How long an invocation waits for a free environment. On AWS it would wait in Lambda's own queue for hours.
const FREE_WAIT: Duration = Duration::from_secs(60);

/// Firings under way at one time. With a period of a minute, tries that all time out are fewer than this.
const FIRINGS_MAX: usize = 64;

/// A schedule as the template describes it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The function to invoke.
    pub function: String,
    /// What the rule is called in events.
    pub rule_arn: String,
    /// From one firing to the next, and from the start to the first.
    pub period: Duration,
}

/// Fires until stopped. Needs a tokio runtime. When it stops, tries that are still to come are left out.
#[must_use]
pub fn start(spec: Spec, lambda: Lambda) -> Running {
    let function = spec.function.clone();
    let invoke = move |event| {
        let (lambda, function) = (lambda.clone(), function.clone());
        async move { lambda.invoke_within(&function, event, new_trace_root(), FREE_WAIT).await }
    };
    Running::start(|stop| fire(spec, Arc::new(invoke), stop))
}

/// The event that a firing at a time invokes the function with.
#[must_use]
pub fn event(id: &str, time: Timestamp, rule_arn: &str) -> Bytes {
    // EventBridge writes whole seconds; the text form of a time is 24 characters long, with its milliseconds from the 19th.
    let time = format!("{}Z", &time.to_string()[..19]);
    let event = json!({
        "version": "0",
        "id": id,
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": time,
        "region": REGION,
        "resources": [rule_arn],
        "detail": {},
    });
    event.to_string().into()
}

async fn fire<I, F>(spec: Spec, invoke: Arc<I>, mut stop: Stop)
where
    I: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, InvokeError>> + Send,
{
    let mut ticks = interval_at(Instant::now() + spec.period, spec.period);
    // After a pause of the whole machine, one firing is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut firings = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {}
        }
        while firings.try_join_next().is_some() {}
        if firings.len() == FIRINGS_MAX {
            tracing::warn!(rule = spec.rule_arn, "a firing is left out, as {FIRINGS_MAX} are under way");
            continue;
        }
        let event = event(&Uuid::new_v4().to_string(), Timestamp::from_millis_clamped(epoch_millis()), &spec.rule_arn);
        let (invoke, rule_arn, stop) = (Arc::clone(&invoke), spec.rule_arn.clone(), stop.clone());
        firings.spawn(async move { try_thrice(&*invoke, event, &rule_arn, stop).await });
    }
    // Each ends by the function's time-out; whoever stops the schedule waits less long.
    while firings.join_next().await.is_some() {}
}

async fn try_thrice<F>(invoke: &impl Fn(Bytes) -> F, event: Bytes, rule_arn: &str, mut stop: Stop)
where
    F: Future<Output = Result<Bytes, InvokeError>>,
{
    let mut pauses = RETRY_PAUSES.into_iter();
    loop {
        let Err(error) = invoke(event.clone()).await else { return };
        let Some(length) = pauses.next() else {
            tracing::warn!(rule = rule_arn, %error, "a scheduled event is given up");
            return;
        };
        tracing::warn!(rule = rule_arn, %error, "a scheduled event is tried again in {} s", length.as_secs());
        pause(&mut stop, length).await;
        if stopped(&stop) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;

    const RULE: &str = "arn:aws:events:us-east-1:000000000000:rule/holdfast-ConsumeFunctionSweep";

    #[test]
    fn the_event_is_that_of_eventbridge() {
        let time = Timestamp::from_millis(1_763_942_400_123).unwrap();
        let expected = json!({
            "version": "0",
            "id": "89d1a02d-5ec7-412e-82f5-13505f849b41",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": "000000000000",
            "time": "2025-11-24T00:00:00Z",
            "region": "us-east-1",
            "resources": [RULE],
            "detail": {},
        });
        let event = event("89d1a02d-5ec7-412e-82f5-13505f849b41", time, RULE);
        assert_eq!(serde_json::from_slice::<Value>(&event).unwrap(), expected);
    }

    /// When the function is invoked in so many seconds, and with which firing's event, if its answers are these.
    async fn invocations(seconds: u64, answers: &[Result<(), InvokeError>]) -> Vec<(u64, usize)> {
        let started = Instant::now();
        let seen: Arc<Mutex<Vec<(u64, Value)>>> = Arc::default();
        let answers = Mutex::new(answers.iter().cloned().collect::<VecDeque<_>>());
        let noted = Arc::clone(&seen);
        let invoke = move |event: Bytes| {
            let id = serde_json::from_slice::<Value>(&event).unwrap()["id"].clone();
            noted.lock().unwrap().push((started.elapsed().as_secs(), id));
            let answer = answers.lock().unwrap().pop_front().unwrap_or(Ok(()));
            async move { answer.map(|()| Bytes::new()) }
        };
        let spec = Spec { function: "f".to_owned(), rule_arn: RULE.to_owned(), period: Duration::from_mins(5) };
        let running = Running::start(|stop| fire(spec, Arc::new(invoke), stop));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        running.stop().await;
        let seen = seen.lock().unwrap();
        let mut ids: Vec<&Value> = Vec::new();
        let mut number = |id| {
            ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            })
        };
        seen.iter().map(|(at, id)| (*at, number(id))).collect()
    }

    fn error() -> Result<(), InvokeError> {
        Err(InvokeError::FunctionError { payload: Bytes::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn it_fires_after_each_period_and_not_at_the_start() {
        assert_eq!(invocations(299, &[]).await, []);
        assert_eq!(invocations(901, &[]).await, [(300, 0), (600, 1), (900, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_tried_again_twice_with_the_same_event_beside_the_next_firings() {
        assert_eq!(invocations(599, &[error(), Ok(())]).await, [(300, 0), (360, 0)]);
        let tries = [error(), error(), error()];
        assert_eq!(invocations(601, &tries).await, [(300, 0), (360, 0), (480, 0), (600, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_leaves_out_what_is_still_to_be_tried() {
        assert_eq!(invocations(310, &[error()]).await, [(300, 0)]);
    }
}
