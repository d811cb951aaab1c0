//! How the functions talk to AWS: one set of time-outs and retries, said out loud, and one pool of connections.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

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

/// Loads region, credentials and endpoint from the environment.
///
/// Lambda puts credentials there, so no other place is searched for them; the SDK's search takes longer than all of our
/// own code does until it asks for work.
///
/// `sam local` passes an endpoint that the template declares but does not set as an empty text, on which the SDK would
/// panic; it counts as absent.
pub async fn sdk_config(patience: Patience) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(patience.attempt)
        .operation_timeout(patience.call)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(BACKOFF_FIRST)
        .with_max_backoff(BACKOFF_MAX);
    let config = aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .http_client(http_client())
        .timeout_config(timeouts)
        .retry_config(retries)
        .load()
        .await;
    if config.endpoint_url() == Some("") {
        let mut builder = config.into_builder();
        builder.set_endpoint_url(None);
        return builder.build();
    }
    config
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
