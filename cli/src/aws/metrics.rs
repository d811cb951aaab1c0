//! The figures of a stack over the last minutes.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy};
use shared::clock::Timestamp;

use super::{CallError, Clients};
use crate::status::{Minutes, Wanted};

const CALL: &str = "cloudwatch:GetMetricData";
/// The most pages of data that are read; a few figures over an hour are one.
const PAGES_MAX: usize = 10;
const MINUTE: i32 = 60;

impl Clients {
    /// The values of some figures in each whole minute of `minutes`, by the figures' ids. What CloudWatch has no value of is
    /// absent.
    ///
    /// # Errors
    /// A call failed.
    pub async fn metrics(
        &self,
        wanted: &[Wanted],
        minutes: Minutes,
    ) -> Result<BTreeMap<&'static str, BTreeMap<Timestamp, f64>>, CallError> {
        let queries: Result<Vec<_>, CallError> = wanted.iter().map(query).collect();
        let queries = queries?;
        let (mut found, mut next) = (BTreeMap::<&'static str, BTreeMap<Timestamp, f64>>::new(), None);
        for _ in 0..PAGES_MAX {
            let request = self
                .cloudwatch
                .get_metric_data()
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(DateTime::from_millis(minutes.first.as_millis()))
                .end_time(DateTime::from_millis(minutes.end.as_millis()))
                .scan_by(ScanBy::TimestampAscending)
                .set_next_token(next);
            let reply = request.send().await.map_err(|error| CallError::of(CALL, &error))?;
            for result in reply.metric_data_results() {
                let Some(wanted) = wanted.iter().find(|wanted| Some(wanted.id) == result.id()) else { continue };
                let values = found.entry(wanted.id).or_default();
                for (time, value) in result.timestamps().iter().zip(result.values()) {
                    values.insert(Timestamp::from_millis_clamped(time.secs().saturating_mul(1_000)), *value);
                }
            }
            next = reply.next_token().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

fn query(wanted: &Wanted) -> Result<MetricDataQuery, CallError> {
    let dimensions =
        wanted.dimensions.iter().map(|(name, value)| Dimension::builder().name(*name).value(value).build());
    let metric = Metric::builder()
        .namespace(wanted.namespace)
        .metric_name(wanted.metric)
        .set_dimensions(Some(dimensions.collect()))
        .build();
    let stat = MetricStat::builder().metric(metric).period(MINUTE).stat(wanted.statistic).build();
    Ok(MetricDataQuery::builder().id(wanted.id).metric_stat(stat).build())
}
