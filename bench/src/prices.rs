//! Prices, of one day and one Region, in US dollars. docs/COST.md says where each comes from.

use anyhow::Context;
use serde::Deserialize;

/// The table in `bench/prices.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Prices {
    /// When they were looked up.
    pub day: String,
    /// Where they hold.
    pub region: String,
    /// A million requests of API Gateway's HTTP API, each for 512 KiB.
    pub http_api_million: f64,
    /// A million invocations of Lambda.
    pub lambda_million: f64,
    /// A second of Lambda with a GiB of memory, on arm64.
    pub lambda_gb_second: f64,
    /// A million requests of SQS, each for 64 KiB.
    pub sqs_million: f64,
    /// What is added to that for fair queues.
    pub sqs_fair_million: f64,
    /// A million write units of DynamoDB on demand.
    pub write_million: f64,
    /// A million read units of DynamoDB on demand.
    pub read_million: f64,
    /// A GB of logs.
    pub logs_gb: f64,
    /// A GB in DynamoDB for a month.
    pub storage_gb_month: f64,
    /// An alarm for a month.
    pub alarm_month: f64,
    /// An alarm over alarms for a month.
    pub composite_alarm_month: f64,
    /// A key of KMS for a month.
    pub key_month: f64,
    /// A dashboard for a month.
    pub dashboard_month: f64,
    /// A metric of our own for a month.
    pub metric_month: f64,
    /// An Application Load Balancer for an hour, idle.
    pub load_balancer_hour: f64,
    /// An `m7g.large` for an hour.
    pub collector_hour: f64,
    /// A broker `kafka.m7g.large` for an hour.
    pub broker_hour: f64,
    /// A GB of disk for a month.
    pub disk_gb_month: f64,
}

impl Prices {
    /// The committed table.
    ///
    /// # Errors
    /// It is not a table of prices.
    pub fn load() -> anyhow::Result<Self> {
        serde_json::from_str(include_str!("../prices.json")).context("bench/prices.json is no table of prices")
    }
}
