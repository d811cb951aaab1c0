//! A client of the HTTP API. It goes straight to where it is told to, and knows no proxies.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use shared::receipt::HEADER as RECEIPT;

/// For a request and its whole answer: as long as the gateway waits for the function.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
    /// After what time the server asks to be tried again.
    pub retry_after: Option<Duration>,
    /// The id of the receipt, with which it can be asked what has become of the events.
    pub receipt: Option<String>,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// It is no address that can be called.
    #[error("{0:?} is no address of an HTTP API, such as http://127.0.0.1:3000")]
    BadAddress(String),
    /// The system has no certificates to trust.
    #[error("the certificates that this system trusts cannot be read: {0}")]
    NoCertificates(String),
    /// There was no answer in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// The answer is too long, or broke off.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

/// A client of an HTTP API at one address.
#[derive(Clone, Debug)]
pub struct Http {
    base: String,
    client: Connection,
}

#[derive(Clone, Debug)]
enum Connection {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Http {
    /// A client of the API at `base`, which has no slash at the end.
    ///
    /// # Errors
    /// It is no address, or TLS is not possible here.
    pub fn new(base: &str) -> Result<Self, HttpError> {
        let address: http::Uri = base.parse().map_err(|_| HttpError::BadAddress(base.to_owned()))?;
        let builder = Client::builder(TokioExecutor::new());
        let client = match (address.scheme_str(), address.host()) {
            (Some("http"), Some(_)) => Connection::Plain(builder.build(HttpConnector::new())),
            (Some("https"), Some(_)) => {
                let roots = HttpsConnectorBuilder::new().with_native_roots();
                let roots = roots.map_err(|error| HttpError::NoCertificates(error.to_string()))?;
                Connection::Tls(builder.build(roots.https_only().enable_http1().build()))
            }
            _ => return Err(HttpError::BadAddress(base.to_owned())),
        };
        Ok(Self { base: base.to_owned(), client })
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn get(&self, path: &str) -> Result<Answer, HttpError> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// Posts JSON to a path, with further headers.
    ///
    /// # Errors
    /// There is no whole answer; the server may have done what it was asked to.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, HttpError> {
        self.send(Method::POST, path, headers, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let address = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(&address).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| HttpError::BadAddress(address))?;
        let exchange = async {
            let response = match &self.client {
                Connection::Plain(client) => client.request(request).await,
                Connection::Tls(client) => client.request(request).await,
            };
            let response = response.map_err(|error| HttpError::Unreachable(innermost(&error)))?;
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            let receipt = response.headers().get(RECEIPT).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| HttpError::Unreadable(error.to_string()))?.to_bytes();
            Ok(Answer { status, body, retry_after, receipt })
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(HttpError::TimedOut))
    }
}

/// The client's own texts say only that it failed; what it failed for is the last in the chain.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_http_are_taken() {
        for address in ["http://127.0.0.1:3000", "http://localhost"] {
            assert!(Http::new(address).is_ok(), "{address}");
        }
        for address in ["", "127.0.0.1:3000", "ftp://host", "/v1", "http://"] {
            assert!(matches!(Http::new(address), Err(HttpError::BadAddress(_))), "{address}");
        }
    }
}
