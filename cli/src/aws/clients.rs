//! Clients of the AWS SDK: for an account, or for what stands in for it on this machine.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use consume::dynamo_table::DynamoTable;
use consume::sqs_queue::SqsQueue;

use super::{EventTable, WriteKeys};
use crate::stack::Endpoints;

/// For a connection to open.
const CONNECT: Duration = Duration::from_secs(3);
/// For one attempt at a call.
const ATTEMPT: Duration = Duration::from_secs(10);
/// For a call with all its attempts: a person waits for it, and a script.
const CALL: Duration = Duration::from_secs(30);
/// Tries of one call, the first included.
const ATTEMPTS: u32 = 3;
/// The credentials that every stand-in takes, as it takes all others.
const LOCAL_CREDENTIALS: &str = "local";
/// The region that stands in the names of resources on one machine.
const LOCAL_REGION: &str = "us-east-1";

/// Clients of all services that are called.
#[derive(Clone, Debug)]
pub struct Clients {
    pub(super) dynamodb: aws_sdk_dynamodb::Client,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) cloudformation: aws_sdk_cloudformation::Client,
    pub(super) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(super) lambda: aws_sdk_lambda::Client,
}

impl Clients {
    /// Clients with the credentials and the region that the AWS SDK and CLI would take, but for what is given here.
    pub async fn of_account(region: Option<String>, profile: Option<String>) -> Self {
        let mut loader = loader();
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        Self::from_config(&loader.load().await, None)
    }

    /// Clients of the stand-ins at these endpoints.
    pub async fn of_stand_ins(endpoints: &Endpoints) -> Self {
        let credentials = aws_sdk_dynamodb::config::Credentials::new(
            LOCAL_CREDENTIALS,
            LOCAL_CREDENTIALS,
            None,
            None,
            LOCAL_CREDENTIALS,
        );
        let config = loader().region(Region::new(LOCAL_REGION)).credentials_provider(credentials).load().await;
        Self::from_config(&config, Some(endpoints))
    }

    fn from_config(config: &SdkConfig, endpoints: Option<&Endpoints>) -> Self {
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(config);
        let mut sqs = aws_sdk_sqs::config::Builder::from(config);
        if let Some(endpoints) = endpoints {
            dynamodb = dynamodb.endpoint_url(&endpoints.dynamodb);
            sqs = sqs.endpoint_url(&endpoints.sqs);
        }
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            cloudformation: aws_sdk_cloudformation::Client::new(config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            lambda: aws_sdk_lambda::Client::new(config),
        }
    }

    /// A table.
    #[must_use]
    pub fn table(&self, name: &str) -> DynamoTable {
        DynamoTable::new(self.dynamodb.clone(), name.to_owned())
    }

    /// The events of a table.
    #[must_use]
    pub fn event_table(&self, name: &str) -> EventTable {
        EventTable::new(self.dynamodb.clone(), name.to_owned())
    }

    /// The write keys of a table.
    #[must_use]
    pub fn write_keys(&self, table: &str) -> WriteKeys {
        WriteKeys::new(self.dynamodb.clone(), table.to_owned())
    }

    /// A queue.
    #[must_use]
    pub fn queue(&self, url: &str) -> SqsQueue {
        SqsQueue::new(self.sqs.clone(), url.to_owned())
    }
}

fn loader() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).retry_config(retries)
}
