//! The server: the engine on a port of its own, and in front of it the layer that clients talk to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use dynoxide::Database;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::faults::{Faults, Plan};
use super::refusal::Refusal;
use super::rewrite::{Rest, Split, split};
use super::streams::Streams;
use crate::private;

/// The database's file in the data directory; SQLite keeps its log in two files beside it.
const FILE_NAME: &str = "dynamodb.sqlite";
/// The one of the two that holds content.
const LOG_NAME: &str = "dynamodb.sqlite-wal";
/// The most connections served at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 512;
/// The largest request or answer passed through. DynamoDB's own limit for both is 16 MB; JSON may take some more.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// For a client to send its body, and for the engine to answer. A full batch on a slow disk takes well under a second.
const DEADLINE: Duration = Duration::from_secs(30);
/// For the engine to finish what it is doing when it is stopped.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// Before connections are accepted again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The directory of the database's file, made if it is missing; without it the tables live in memory.
    pub data: Option<PathBuf>,
}

/// A DynamoDB endpoint on loopback. Dropping it stops it without waiting.
pub struct Server {
    address: SocketAddr,
    faults: Faults,
    /// Its one task ends with it.
    front: JoinSet<()>,
    engine: Engine,
}

impl Server {
    /// Serves on the listener.
    ///
    /// # Errors
    /// A listener that is not on loopback, or a database that cannot be opened.
    pub async fn start(listener: TcpListener, options: Options) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        loopback_only(address)?;
        // Opening may replay SQLite's log, and both opening and closing wait for the disk.
        let engine = tokio::task::spawn_blocking(move || Engine::start(options.data.as_deref())).await??;
        let faults = Faults::default();
        let mut front = JoinSet::new();
        front.spawn(accept(listener, engine.address, faults.clone()));
        Ok(Self { address, faults, front, engine })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for `AWS_ENDPOINT_URL_DYNAMODB`, without a slash at the end.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same tables past the faults, for whoever watches them: a URL without a slash at the end.
    #[must_use]
    pub fn endpoint_past_faults(&self) -> String {
        format!("http://{}", self.engine.address)
    }

    /// The switches of this server's faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The streams of the tables. Whoever has them keeps the database open.
    #[must_use]
    pub fn streams(&self) -> Streams {
        Streams::new(self.engine.database.clone())
    }

    /// Closes all connections and then the database, whose file may be opened again afterwards. The file is written anew
    /// first, for the users who were deleted: SQLite leaves what is deleted or replaced in its place until something else
    /// needs the room. That takes as long as copying the file twice, and as much room meanwhile. A death in the midst of
    /// it loses nothing. If it fails, the database is as it was, which the log tells.
    pub async fn stop(self) {
        let Self { mut front, engine, .. } = self;
        front.abort_all();
        // Bounded by the deadline inside; a join error could only be the panic of a worker, which is logged by then.
        let _ = tokio::task::spawn_blocking(move || engine.stop()).await;
    }
}

/// Refuses an address that other machines can reach: nothing here checks who is calling.
pub(super) fn loopback_only(address: SocketAddr) -> anyhow::Result<()> {
    ensure!(address.ip().is_loopback(), "DynamoDB is served on loopback only, not on {address}");
    Ok(())
}

/// The engine, on threads of its own: it answers each request without yielding, and in file mode waits for the disk
/// meanwhile, which must not hold up the clocks of the queues beside it.
struct Engine {
    address: SocketAddr,
    /// Where the database's files are, if it has any.
    data: Option<PathBuf>,
    database: Database,
    runtime: Option<Runtime>,
}

impl Engine {
    fn start(data: Option<&Path>) -> anyhow::Result<Self> {
        let database = open(data)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("dynamodb")
            .enable_all()
            .build()
            .context("cannot start DynamoDB's threads")?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind DynamoDB's port")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        // It serves until the runtime is shut down.
        runtime.spawn(dynoxide::server::serve_with_shutdown(listener, database.clone(), std::future::pending()));
        Ok(Self { address, data: data.map(Path::to_owned), database, runtime: Some(runtime) })
    }

    /// Waits for the requests under way, writes the file without what was deleted, and closes the database.
    fn stop(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(STOP_DEADLINE);
        }
        let Some(data) = self.data.take() else { return };
        if let Err(error) = self.database.vacuum() {
            tracing::error!(%error, "DynamoDB's file cannot be written anew: it still holds what was deleted");
        }
        // The last to close the database moves what is in SQLite's log into the file, and removes the log.
        drop(self);
        if data.join(LOG_NAME).exists() {
            tracing::error!("DynamoDB's database is still open: SQLite's log beside it may hold what was deleted");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A runtime that is simply dropped waits, which tasks of another runtime are not allowed to.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn open(data: Option<&Path>) -> anyhow::Result<Database> {
    let Some(directory) = data else { return Database::memory().context("cannot make a database in memory") };
    private::own_folder(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = directory.join(FILE_NAME);
    // SQLite takes an empty file for a new database, and gives its log the permissions of the file.
    private::own_file(&file).with_context(|| format!("cannot make {}", file.display()))?;
    let name = file.to_str().with_context(|| format!("{} is not UTF-8", file.display()))?;
    Database::new(name).with_context(|| format!("cannot open {name}"))
}

async fn accept(listener: TcpListener, engine: SocketAddr, faults: Faults) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let connection = Connection { engine, faults: faults.clone(), sender: Mutex::new(None) };
        connections.spawn(async move {
            let _place = place;
            connection.serve(stream).await;
        });
    }
}

/// The one error of a connection that is closed on purpose, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed without an answer")]
struct Closed;

/// A client's connection, with one of its own to the engine.
struct Connection {
    engine: SocketAddr,
    faults: Faults,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Connection {
    async fn serve(&self, stream: TcpStream) {
        // Answers are small and wait for nothing; without this, the kernel may hold them back for 40 ms. If it cannot be
        // set, they are only slower.
        let _ = stream.set_nodelay(true);
        let service = hyper::service::service_fn(|request| self.answer(request));
        // Idle connections stay open: SDKs keep them, and their number is bounded. An error is a client that went away,
        // or `Closed`.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
        let (mut head, body) = request.into_parts();
        let body = read(body).await.ok_or(Closed)?;
        for hop in [CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING] {
            head.headers.remove(hop);
        }
        // Streams are a service of their own on AWS, which works while the tables do not.
        let plan =
            if is_for_streams(&head.headers) { Plan::default() } else { self.faults.plan(operation(&head.headers)) };
        if !plan.delay.is_zero() {
            tokio::time::sleep(plan.delay).await;
        }
        let answer = match plan.refusal {
            Some(refusal) => refuse(refusal),
            None => self.perform(&plan, head, body).await,
        };
        if plan.drop_reply { Err(Closed) } else { Ok(answer) }
    }

    /// Passes a request on, or the part of it that the plan leaves.
    async fn perform(&self, plan: &Plan, head: http::request::Parts, body: Bytes) -> Response<Full<Bytes>> {
        let divided = plan.partial.as_ref().and_then(|fault| {
            // What is not JSON goes to the engine, which knows the error for it.
            let request = serde_json::from_slice(&body).ok()?;
            split(fault, operation(&head.headers), request)
        });
        match divided {
            None => self.pass_on(Request::from_parts(head, Full::new(body))).await,
            Some(Split::Refused(refusal)) => refuse(refusal),
            Some(Split::Nothing(answer)) => respond(http::StatusCode::OK, &answer),
            Some(Split::Part(request, rest)) => {
                let request = Full::new(Bytes::from(request.to_string()));
                complete(self.pass_on(Request::from_parts(head, request)).await, rest).await
            }
        }
    }

    /// The engine's answer. If there is none, its effect is unknown, which is what an internal error means.
    async fn pass_on(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        // Only this connection's own requests use the sender, and HTTP/1.1 sends them one after another.
        let mut sender = self.sender.lock().await;
        let answer = timeout(DEADLINE, send(&mut sender, self.engine, request)).await;
        answer.ok().flatten().unwrap_or_else(|| {
            *sender = None;
            refuse(Refusal::InternalServerError)
        })
    }
}

async fn send(
    sender: &mut Option<SendRequest<Full<Bytes>>>,
    engine: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Option<Response<Full<Bytes>>> {
    if sender.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = TcpStream::connect(engine).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (fresh, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        // It ends when its sender is dropped.
        tokio::spawn(connection);
        *sender = Some(fresh);
    }
    let (mut head, body) = sender.as_mut()?.send_request(request).await.ok()?.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?.to_bytes();
    head.headers.remove(CONNECTION);
    Some(Response::from_parts(head, Full::new(body)))
}

async fn read(body: Incoming) -> Option<Bytes> {
    let body = timeout(DEADLINE, Limited::new(body, BODY_BYTES_MAX).collect()).await.ok()?.ok()?;
    Some(body.to_bytes())
}

/// Service, version and operation, as in `DynamoDB_20120810.PutItem`.
fn target(headers: &HeaderMap) -> &str {
    headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default()
}

fn operation(headers: &HeaderMap) -> &str {
    let target = target(headers);
    target.rsplit_once('.').map_or(target, |(_, operation)| operation)
}

fn is_for_streams(headers: &HeaderMap) -> bool {
    target(headers).starts_with("DynamoDBStreams_")
}

/// Adds to the answer of a part what makes it the answer of the whole; an error is the whole's error.
async fn complete(answer: Response<Full<Bytes>>, rest: Rest) -> Response<Full<Bytes>> {
    if !answer.status().is_success() {
        return answer;
    }
    let (head, body) = answer.into_parts();
    let Ok(body) = body.collect().await;
    match serde_json::from_slice::<Value>(&body.to_bytes()) {
        Ok(answer) => respond(head.status, &rest.complete(answer)),
        Err(_) => refuse(Refusal::InternalServerError),
    }
}

fn refuse(refusal: Refusal) -> Response<Full<Bytes>> {
    respond(refusal.status(), &refusal.body())
}

/// An answer of this layer's own. It has no `x-amz-crc32`, which clients check only where it is there.
fn respond(status: http::StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}
