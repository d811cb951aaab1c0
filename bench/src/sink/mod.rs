//! What stands in for SQS and DynamoDB behind every subject: it answers at once, keeps nothing, and counts everything.
//!
//! It speaks TLS under a certificate authority of its own, since half of a cold start is the opening of connections. The
//! two services have ports of their own, as on AWS they have hosts of their own.

mod dynamodb;
mod ledger;
mod sqs;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use ledger::{Ledger, Tally};

/// The largest call: DynamoDB's batches are the largest, at 16 MB.
const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Both services. Dropping it ends them.
pub struct Sink {
    /// Where SQS is.
    pub sqs: SocketAddr,
    /// Where DynamoDB is.
    pub dynamodb: SocketAddr,
    /// The certificate that the two are signed with, alone (PEM).
    pub authority: PathBuf,
    /// The same, after all that the system trusts (PEM).
    pub bundle: PathBuf,
    /// What they were asked for.
    pub ledger: Arc<Ledger>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

/// An answer in AWS's JSON protocol.
pub(crate) struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    fn ok(body: String) -> Self {
        Self { status: 200, body }
    }

    fn refuse(code: &str, message: &str) -> Self {
        let body = serde_json::json!({"__type": code, "message": message}).to_string();
        Self { status: 400, body }
    }
}

type Answer = fn(&str, &[u8], &mut Tally) -> Reply;

impl Sink {
    /// Starts both services on free ports of this machine. The certificates go to `folder`.
    ///
    /// # Errors
    /// No port, or no certificate could be made or written.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let identity = tls::Identity::make().context("a certificate could not be made")?;
        let (authority, bundle) = identity.write(folder)?;
        let acceptor = TlsAcceptor::from(identity.server);
        let ledger = Arc::new(Ledger::default());
        let mut servers = Vec::new();
        let mut addresses = Vec::new();
        for answer in [sqs::answer as Answer, dynamodb::answer] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            addresses.push(listener.local_addr()?);
            servers.push(tokio::spawn(serve(listener, acceptor.clone(), answer, Arc::clone(&ledger))));
        }
        Ok(Self { sqs: addresses[0], dynamodb: addresses[1], authority, bundle, ledger, servers })
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, answer: Answer, ledger: Arc<Ledger>) {
    // It ends when the task is aborted.
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, acceptor.clone(), answer, Arc::clone(&ledger)));
    }
}

/// Serves one connection until the subject, which is ended after its measurement, closes it.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, answer: Answer, ledger: Arc<Ledger>) {
    let _ = stream.set_nodelay(true);
    // A handshake that fails shows at the subject, whose call fails.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| call(request, answer, &ledger));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn call(
    request: Request<Incoming>,
    answer: Answer,
    ledger: &Ledger,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
    let action = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default().to_owned();
    let body = Limited::new(request.into_body(), CALL_BYTES_MAX).collect().await?.to_bytes();
    let began = Instant::now();
    let reply = ledger.with(|tally| {
        let reply = answer(&action, &body, tally);
        tally.count_call(&action, reply.status, began.elapsed());
        reply
    });
    Ok(Response::builder()
        .status(reply.status)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amzn-requestid", "00000000-0000-0000-0000-000000000000")
        .body(Full::from(reply.body))?)
}
