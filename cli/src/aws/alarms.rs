//! The alarms of a stack.

use aws_sdk_cloudwatch::types::{AlarmType, StateValue};

use super::{CallError, Clients};
use crate::status::Alarm;

/// The most pages of alarms that are read; a stack has one.
const PAGES_MAX: usize = 10;

impl Clients {
    /// The alarms of a stack that are in the state `ALARM`.
    ///
    /// # Errors
    /// A call failed.
    pub async fn alarms(&self, stack: &str) -> Result<Vec<Alarm>, CallError> {
        let (mut alarms, mut next) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let request = self.cloudwatch.describe_alarms().alarm_name_prefix(format!("{stack}-"));
            let request = request
                .state_value(StateValue::Alarm)
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .set_next_token(next);
            let reply = request.send().await;
            let reply = reply.map_err(|error| CallError::of("cloudwatch:DescribeAlarms", &error))?;
            let alarm = |name: Option<&str>, why: Option<&str>| {
                let name = name.unwrap_or_default();
                let name = name.strip_prefix(&format!("{stack}-")).unwrap_or(name).to_owned();
                Alarm { name, why: why.unwrap_or_default().to_owned() }
            };
            alarms.extend(reply.composite_alarms().iter().map(|found| alarm(found.alarm_name(), found.state_reason())));
            alarms.extend(reply.metric_alarms().iter().map(|found| alarm(found.alarm_name(), found.state_reason())));
            next = reply.next_token().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        Ok(alarms)
    }
}
