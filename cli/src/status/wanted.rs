//! Which figures of CloudWatch are asked for.

use shared::telemetry::{NAMESPACE, metric};

use crate::stack::Stack;

/// The id of the age of the queue's oldest message in seconds, which is no count and so no [`super::Figure`].
pub const OLDEST: &str = "oldest";

/// A figure that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is called, here and in the question.
    pub id: &'static str,
    /// The metric's namespace.
    pub namespace: &'static str,
    /// The metric's name.
    pub metric: &'static str,
    /// What of a minute's values.
    pub statistic: &'static str,
    /// Which of the metrics of that name.
    pub dimensions: Vec<(&'static str, String)>,
}

impl Wanted {
    /// The name of the [`super::Figure`] that it becomes; `None` for what is no count.
    #[must_use]
    pub fn figure(&self) -> Option<&'static str> {
        (self.id != OLDEST).then_some(self.id)
    }
}

/// The figures of a stack.
#[must_use]
pub fn wanted(stack: &Stack) -> Vec<Wanted> {
    let ours = |id, metric, service: &str| Wanted {
        id,
        namespace: NAMESPACE,
        metric,
        statistic: "Sum",
        dimensions: vec![("service", service.to_owned()), ("stack", stack.name.clone())],
    };
    let queue = stack.events_queue_url.rsplit('/').next().unwrap_or_default().to_owned();
    vec![
        ours("accepted", metric::EVENTS_ACCEPTED, "ingest"),
        ours("refused", metric::EVENTS_REFUSED, "ingest"),
        ours("spilled", metric::EVENTS_SPILLED, "ingest"),
        ours("stored", metric::EVENTS_STORED, "consume"),
        ours("duplicate", metric::EVENTS_DUPLICATE, "consume"),
        ours("erased", metric::EVENTS_ERASED, "consume"),
        ours("dead", metric::EVENTS_DEAD_LETTERED, "consume"),
        ours("retried", metric::MESSAGES_RETRIED, "consume"),
        Wanted {
            id: OLDEST,
            namespace: "AWS/SQS",
            metric: "ApproximateAgeOfOldestMessage",
            statistic: "Maximum",
            dimensions: vec![("QueueName", queue)],
        },
    ]
}

#[cfg(test)]
mod tests {
    use shared::telemetry::metric::{OF_CONSUME, OF_INGEST};

    use super::*;
    use crate::stack::{Endpoints, local};

    #[test]
    fn every_figure_of_ours_is_a_metric_of_the_function_that_it_names() {
        let endpoint = || "http://127.0.0.1:1".to_owned();
        let stack = local(&Endpoints { api: endpoint(), sqs: endpoint(), dynamodb: endpoint() });
        let wanted = wanted(&stack);
        for one in wanted.iter().filter(|one| one.namespace == NAMESPACE) {
            let metrics: &[&str] = if one.dimensions[0].1 == "ingest" { &OF_INGEST } else { &OF_CONSUME };
            assert!(metrics.contains(&one.metric), "{one:?}");
            assert_eq!(one.dimensions[1], ("stack", "holdfast".to_owned()));
        }
        let oldest = wanted.iter().find(|one| one.id == OLDEST).unwrap();
        assert_eq!((oldest.dimensions[0].1.as_str(), oldest.figure()), ("holdfast-events", None));
        // An id begins with a lower-case letter (CloudWatch API reference, MetricDataQuery).
        assert!(wanted.iter().all(|one| one.id.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
