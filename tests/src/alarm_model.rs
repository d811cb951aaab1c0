//! The template's alarms as CloudWatch evaluates them: metrics by the minute in, the state of an alarm out.
//!
//! It knows as much of metric maths as the template uses; anything else is a panic that names it.

mod maths;

use std::collections::BTreeMap;

use serde_yaml_ng::Value;

/// Metrics by the minute from 0 on, under the names that [`Alarm::metrics`] gives. A minute without data is `None`.
pub type Metrics = BTreeMap<String, Vec<Option<f64>>>;
/// One value for each period, the newest at the end.
type Series = Vec<Option<f64>>;

/// An alarm of the template.
#[derive(Debug)]
pub struct Alarm {
    /// The resource's name in the template.
    pub id: String,
    /// The minutes of a period.
    pub period: usize,
    evaluation_periods: usize,
    /// How many of the periods that are looked at must be bad.
    pub datapoints: usize,
    threshold: f64,
    is_less_than: bool,
    missing_is_bad: bool,
    queries: Vec<Query>,
    expression: String,
}

#[derive(Debug)]
struct Query {
    id: String,
    metric: String,
    statistic: String,
}

/// A value, or what one of CloudFormation's functions is given.
fn plain(value: &Value) -> &Value {
    if let Value::Tagged(tagged) = value { &tagged.value } else { value }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn whole(value: &Value, name: &str) -> usize {
    value.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok()).expect("a whole number")
}

/// A metric's name with what its dimensions say: `EventsDue ingest`.
fn metric(value: &Value) -> String {
    let mut name = text(value, "MetricName").expect("a metric has a name").to_owned();
    for dimension in value.get("Dimensions").and_then(Value::as_sequence).into_iter().flatten() {
        let value = dimension.get("Value").expect("a dimension has a value");
        let said = plain(value).as_str().and_then(|target| target.split('.').next());
        let said = said.filter(|said| !said.starts_with("AWS::"));
        name.extend(said.into_iter().flat_map(|said| [" ", said]));
    }
    name
}

impl Alarm {
    /// All alarms of a template but the composite ones; a threshold that is a parameter is its default.
    ///
    /// # Panics
    /// An alarm is not as CloudFormation wants it.
    #[must_use]
    pub fn read(template: &str) -> Vec<Self> {
        let document: Value = serde_yaml_ng::from_str(template).expect("the template is YAML");
        let resources = document.get("Resources").and_then(Value::as_mapping).expect("the template has resources");
        let alarms = resources.iter().filter(|(_, one)| text(one, "Type") == Some("AWS::CloudWatch::Alarm"));
        alarms.map(|(id, alarm)| Self::one(&document, id.as_str().expect("a name"), &alarm["Properties"])).collect()
    }

    fn one(document: &Value, id: &str, alarm: &Value) -> Self {
        let threshold = &alarm["Threshold"];
        let threshold = plain(threshold).as_str().map_or(threshold, |name| &document["Parameters"][name]["Default"]);
        let listed = alarm.get("Metrics").and_then(Value::as_sequence);
        let listed = listed.into_iter().flatten();
        let stats = listed.clone().filter_map(|query| Some((text(query, "Id")?, query.get("MetricStat")?)));
        let mut queries: Vec<Query> = stats
            .clone()
            .map(|(id, stat)| Query {
                id: id.to_owned(),
                metric: metric(&stat["Metric"]),
                statistic: text(stat, "Stat").expect("a statistic").to_owned(),
            })
            .collect();
        let period = match stats.clone().next() {
            Some((_, stat)) => whole(stat, "Period"),
            None => whole(alarm, "Period"),
        };
        if queries.is_empty() {
            let statistic =
                text(alarm, "Statistic").or(text(alarm, "ExtendedStatistic")).expect("a statistic").to_owned();
            queries.push(Query { id: "only".to_owned(), metric: metric(alarm), statistic });
        }
        let expression = listed.clone().find_map(|query| text(query, "Expression")).unwrap_or("only");
        Self {
            id: id.to_owned(),
            period: period / 60,
            evaluation_periods: whole(alarm, "EvaluationPeriods"),
            datapoints: whole(alarm, "DatapointsToAlarm"),
            threshold: threshold.as_f64().expect("a number"),
            is_less_than: text(alarm, "ComparisonOperator") == Some("LessThanThreshold"),
            missing_is_bad: text(alarm, "TreatMissingData") == Some("breaching"),
            queries,
            expression: expression.to_owned(),
        }
    }

    /// What it watches.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.queries.iter().map(|query| query.metric.as_str())
    }

    /// Whether it is on at the end of a minute.
    #[must_use]
    pub fn is_on(&self, metrics: &Metrics, minute: usize) -> bool {
        // One period more than is looked at, so that the first of them has one before it.
        let values: BTreeMap<&str, Series> = self
            .queries
            .iter()
            .map(|query| (query.id.as_str(), self.periods(metrics.get(&query.metric), &query.statistic, minute)))
            .collect();
        let series = maths::evaluate(&self.expression, &values, self.evaluation_periods + 1);
        let is_bad = |value: &Option<f64>| match value {
            Some(value) if self.is_less_than => *value < self.threshold,
            Some(value) => *value > self.threshold,
            None => self.missing_is_bad,
        };
        series.iter().skip(1).filter(|value| is_bad(value)).count() >= self.datapoints
    }

    fn periods(&self, minutes: Option<&Series>, statistic: &str, minute: usize) -> Series {
        let one = |back: usize| {
            let end = (minute + 1).checked_sub(back * self.period)?;
            let minutes = minutes?.get(end.saturating_sub(self.period)..end)?;
            let values = minutes.iter().flatten().copied();
            values.clone().next()?;
            Some(match statistic {
                "Sum" => values.sum(),
                "Minimum" => values.fold(f64::INFINITY, f64::min),
                // Of one value a minute, the 99th percentile is the largest.
                "Maximum" | "p99" => values.fold(f64::NEG_INFINITY, f64::max),
                other => panic!("the statistic {other} is not known here"),
            })
        };
        (0..=self.evaluation_periods).rev().map(one).collect()
    }
}
