//! How the functions talk to AWS: one set of time-outs and retries, said out loud, and one pool of connections.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_types::sdk_config::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::config::environment;

/// How long calls to AWS may take. The SDK's own defaults bound nothing but the connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one attempt.
    pub attempt: Duration,
    /// For a call with all its attempts.
    pub call: Duration,
}

/// Tries of one call, the first included.
const ATTEMPTS: u32 = 3;
/// The first pause between tries. The SDK's default of one second is longer than producers wait.
const BACKOFF_FIRST: Duration = Duration::from_millis(25);
/// The longest pause between tries.
const BACKOFF_MAX: Duration = Duration::from_millis(400);
/// For a connection to open.
const CONNECT: Duration = Duration::from_millis(800);

/// Reads region, credentials and endpoints from the environment, where Lambda and `local` put them.
///
/// The SDK would search for them in files, and with other services, too; without the code for that the function is a
/// tenth smaller. Of the SDK's own variables, those that are read are `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL`, the same for one service (`AWS_ENDPOINT_URL_SQS`),
/// `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT`.
#[must_use]
pub fn sdk_config(patience: Patience) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(patience.attempt)
        .operation_timeout(patience.call)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(BACKOFF_FIRST)
        .with_max_backoff(BACKOFF_MAX);
    let is_on = |name: &str| environment(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(environment("AWS_REGION").map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"))
        .service_config(EndpointVariables)
        .http_client(http_client())
        .timeout_config(timeouts)
        .retry_config(retries)
        .build()
}

/// The endpoints that variables name.
#[derive(Debug)]
struct EndpointVariables;

impl LoadServiceConfig for EndpointVariables {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        endpoint(environment, key.env(), key.service_id())
    }
}

/// What the variable for one service says, else what the one for all does.
///
/// `sam local` passes an endpoint that the template declares but does not set as an empty text, on which the SDK would
/// panic; it counts as absent.
fn endpoint(lookup: impl Fn(&str) -> Option<String>, variable: &str, service: &str) -> Option<String> {
    let of_service = format!("{variable}_{}", service.replace(' ', "_").to_ascii_uppercase());
    [of_service.as_str(), variable].into_iter().filter_map(lookup).find(|url| !url.is_empty())
}

/// The one pool of connections that all clients share.
///
/// By itself, each client reads the certificates that the system trusts twice: when it is made, and again for its first
/// call.
fn http_client() -> SharedHttpClient {
    let connector = Connector::builder()
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .proxy_config(ProxyConfig::from_env())
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT).build())
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_its_own_endpoint_else_that_of_all_and_an_empty_one_is_none() {
        for (of_all, of_sqs, expected) in [
            (None, None, None),
            (Some("http://all"), None, Some("http://all")),
            (Some("http://all"), Some("http://sqs"), Some("http://sqs")),
            (Some("http://all"), Some(""), Some("http://all")),
            (Some(""), None, None),
        ] {
            let lookup = |name: &str| match name {
                "AWS_ENDPOINT_URL" => of_all.map(str::to_owned),
                "AWS_ENDPOINT_URL_SQS" => of_sqs.map(str::to_owned),
                _ => None,
            };
            assert_eq!(endpoint(lookup, "AWS_ENDPOINT_URL", "SQS").as_deref(), expected, "{of_all:?} {of_sqs:?}");
        }
    }

    #[test]
    fn every_client_has_the_time_outs_and_the_retries_that_were_asked_for() {
        let patience = Patience { attempt: Duration::from_millis(7), call: Duration::from_millis(17) };
        let config = sdk_config(patience);
        let timeouts = config.timeout_config().unwrap();
        assert_eq!(timeouts.operation_attempt_timeout(), Some(patience.attempt));
        assert_eq!(timeouts.operation_timeout(), Some(patience.call));
        assert_eq!(timeouts.connect_timeout(), Some(CONNECT));
        assert_eq!(config.retry_config().unwrap().max_attempts(), ATTEMPTS);
    }
}
