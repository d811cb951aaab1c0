//! An HTTP API of API Gateway on one machine: its routes, and the functions that they lead to.
//!
//! A request becomes an event of payload format 2.0, the function's response becomes the answer, and the gateway's own
//! limits and error answers are those that clients meet in production.

mod request;
mod response;
mod routes;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

pub use self::routes::DEFAULT_ROUTE;
use self::routes::Routes;
use crate::lambda::{Collected, InvokeError, Lambda, collect, epoch_millis};

/// The most bytes of a request's body (API Gateway quotas: 10 MB for HTTP APIs).
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The most bytes of a request line and all headers together (API Gateway quotas: 10,240).
pub const HEAD_BYTES_MAX: usize = 10_240;

/// The longest an integration may take, and the default (API Gateway quotas: 30 s, not to be raised).
pub const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request waits for a free environment before it is refused. AWS has more of them than a machine does, so
/// a burst that it would spread out is given a moment here.
const FREE_WAIT: Duration = Duration::from_secs(1);

/// How long open connections may take to end when the gateway stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What the gateway stands in front of.
#[derive(Clone, Debug)]
pub struct GatewaySpec {
    /// The function that gets every request that no other route is for.
    pub function: String,
    /// Routes to other functions: each its key (`ANY /v1/things/{path+}`), and the function.
    pub functions: Vec<(String, String)>,
    /// After this, the client gets 503; the function goes on.
    pub integration_timeout: Duration,
    /// Routes that the gateway answers by itself, before the function's; without a fallback of their own.
    pub routes: Router,
}

impl GatewaySpec {
    /// A gateway in front of `function`, with API Gateway's time-out and no routes besides.
    pub fn new(function: impl Into<String>) -> Self {
        let (integration_timeout, routes) = (INTEGRATION_TIMEOUT, Router::new());
        Self { function: function.into(), functions: Vec::new(), integration_timeout, routes }
    }
}

/// A running gateway. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stop: watch::Sender<()>,
    server: JoinHandle<()>,
}

impl Gateway {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections, lets requests end within 5 s, and stops.
    pub async fn stop(self) {
        drop(self.stop);
        let server = self.server.abort_handle();
        if timeout(STOP_LIMIT, self.server).await.is_err() {
            server.abort();
        }
    }
}

/// Serves HTTP on `listener` until stopped. Needs a tokio runtime.
///
/// # Errors
///
/// When the listener has no local address.
///
/// # Panics
///
/// When `spec.routes` has a fallback.
pub fn serve(listener: TcpListener, lambda: Lambda, spec: GatewaySpec) -> io::Result<Gateway> {
    let address = listener.local_addr()?;
    let GatewaySpec { function, functions, integration_timeout, routes } = spec;
    let functions = Routes::new(function, functions);
    let front = Arc::new(Front { lambda, functions, integration_timeout, port: address.port() });
    let routes = Router::new().fallback(answer).with_state(front).merge(routes);
    let (stop, mut stopped) = watch::channel(());
    let server = tokio::spawn(async move {
        let service = routes.into_make_service_with_connect_info::<SocketAddr>();
        // Either way of ending means that the gateway was told to stop, or dropped.
        let stopping = async move { drop(stopped.changed().await) };
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopping).await {
            tracing::warn!(%error, "the gateway ended");
        }
    });
    Ok(Gateway { address, stop, server })
}

/// What every request needs.
struct Front {
    lambda: Lambda,
    functions: Routes,
    integration_timeout: Duration,
    port: u16,
}

/// Why the gateway answers by itself.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    HeadTooLarge,
    BodyTooLarge,
    BodyBroken,
    BodyTooSlow,
    /// The function was at fault, or its response was.
    Internal,
    /// The function had no time or no room for the request.
    Unavailable,
}

impl Refusal {
    fn response(self) -> Response {
        let (status, message) = match self {
            Self::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "Bad Request"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        };
        let mut response = Response::new(Body::from(format!(r#"{{"message":"{message}"}}"#)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

async fn answer(
    State(front): State<Arc<Front>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let request_id = new_request_id();
    let result = front.integrate(peer, request, &request_id).await;
    let mut response = result.unwrap_or_else(Refusal::response);
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert("apigw-requestid", value);
    }
    response
}

impl Front {
    async fn integrate(&self, peer: SocketAddr, request: Request, request_id: &str) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        // The body is read first even where the head is refused, so that the client is there to read the answer.
        let body = timeout(self.integration_timeout, collect(body, BODY_BYTES_MAX)).await;
        if request::head_bytes(&head) > HEAD_BYTES_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        let body = match body.map_err(|_| Refusal::BodyTooSlow)?.map_err(|_| Refusal::BodyBroken)? {
            Collected::Whole(bytes) => bytes,
            Collected::TooLarge => return Err(Refusal::BodyTooLarge),
        };
        let root = request::trace_root(&head.headers);
        let now = shared::clock::Timestamp::from_millis_clamped(epoch_millis());
        let found = self.functions.find(head.method.as_str(), head.uri.path());
        let function = found.function.to_owned();
        let received =
            request::Received { head: &head, body: &body, peer, port: self.port, request_id, root: &root, now, found };
        let payload = Bytes::from(received.event().to_string());
        // The two are not needed while the function runs, and there may be many at a time.
        drop((head, body));
        let response = timeout(self.integration_timeout, self.invoke(&function, payload, root)).await;
        response::from_function(&response.map_err(|_| Refusal::Unavailable)??).ok_or(Refusal::Internal)
    }

    /// Invokes the function, waiting a little for a free environment.
    async fn invoke(&self, function: &str, payload: Bytes, root: String) -> Result<Bytes, Refusal> {
        self.lambda.invoke_within(function, payload, root, FREE_WAIT).await.map_err(|error| match error {
            InvokeError::Throttled => Refusal::Unavailable,
            InvokeError::RequestTooLarge { .. } => Refusal::BodyTooLarge,
            InvokeError::UnknownFunction(_)
            | InvokeError::FunctionError { .. }
            | InvokeError::TimedOut { .. }
            | InvokeError::Crashed { .. }
            | InvokeError::InitFailed { .. }
            | InvokeError::ResponseTooLarge => {
                // The client learns nothing of the cause, so it is told here.
                tracing::warn!(function, %error, "the gateway answers 500");
                Refusal::Internal
            }
        })
    }
}

/// A request id in API Gateway's form: 16 characters of base64 for 11 random bytes.
fn new_request_id() -> String {
    STANDARD.encode(&Uuid::new_v4().as_bytes()[..11])
}
