//! A proxy between the pipeline and a stand-in, through which calls go wrong as they do in a network.
//!
//! What it has taken, it may pass on even when its caller is gone or has stopped waiting, and so later than what the
//! caller did next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use crate::dice::Dice;

/// The largest body passed on. The tests' own are far smaller.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a call may take behind the proxy: longer than the longest poll of SQS.
const PASS_LIMIT: Duration = Duration::from_secs(30);
/// For the first half of a reply to be on its way before the connection is reset.
const HALF_WAY: Duration = Duration::from_millis(5);
/// The longest that a call is held up, in milliseconds: beyond the time that ingest gives an attempt (700 ms), so that
/// it is made again and then has its effect twice.
///
/// It is below what consume gives one (2 s): an insert that is held up until its event has been stored by a later attempt,
/// and erased, would bring the event back, which no order of writes can prevent.
const DELAY_MAX_MS: u64 = 1_500;

/// How often calls go wrong, in thousandths each. The rest goes well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odds {
    /// An error of status 500 or 503, and half of those of 500 after the effect.
    pub(crate) error: u64,
    /// The service's own way to say that calls come too fast.
    pub(crate) throttle: u64,
    /// The connection is reset instead of the call being passed on.
    pub(crate) reset: u64,
    /// The call has its effect, and then the connection is reset instead of an answer.
    pub(crate) lost: u64,
    /// Half of the answer comes, and then the connection is reset.
    pub(crate) cut: u64,
    /// The call is held up, and then passed on.
    pub(crate) delay: u64,
}

impl Odds {
    /// A bad day: nearly every third call goes wrong.
    pub(crate) const FLAKY: Self = Self { error: 70, throttle: 50, reset: 50, lost: 50, cut: 30, delay: 50 };
    /// Most calls go wrong, and some of them with all their retries.
    pub(crate) const BROKEN: Self = Self { error: 200, throttle: 100, reset: 100, lost: 150, cut: 50, delay: 50 };
    /// Trouble now and then.
    pub(crate) const ROUGH: Self = Self { error: 30, throttle: 20, reset: 20, lost: 25, cut: 15, delay: 20 };
    /// The service is away.
    pub(crate) const AWAY: Self = Self { error: 500, throttle: 0, reset: 500, lost: 0, cut: 0, delay: 0 };
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Well,
    Unavailable,
    Broken { applied: bool },
    Throttled,
    Reset,
    Lost,
    Cut,
    Delayed(Duration),
}

impl Turn {
    fn of(odds: Odds, dice: &mut Dice) -> Self {
        let mut fall = dice.below(1_000);
        let mut is = |part: u64| {
            let is = fall < part;
            fall = fall.saturating_sub(part);
            is
        };
        if is(odds.error) {
            match dice.below(4) {
                0 | 1 => Self::Unavailable,
                2 => Self::Broken { applied: false },
                // A service that is away has no effects.
                _ => Self::Broken { applied: odds.lost > 0 },
            }
        } else if is(odds.throttle) {
            Self::Throttled
        } else if is(odds.reset) {
            Self::Reset
        } else if is(odds.lost) {
            Self::Lost
        } else if is(odds.cut) {
            Self::Cut
        } else if is(odds.delay) {
            Self::Delayed(Duration::from_millis(dice.below(DELAY_MAX_MS)))
        } else {
            Self::Well
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Unavailable => "503",
            Self::Broken { .. } => "500",
            Self::Throttled => "throttled",
            Self::Reset => "reset",
            Self::Lost => "lost",
            Self::Cut => "cut",
            Self::Delayed(_) => "delayed",
        }
    }
}

/// Which service is behind a proxy: each says in its own way that calls come too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// SQS, with the AWS JSON protocol.
    Sqs,
    /// DynamoDB.
    DynamoDb,
}

/// Gets the port of a caller whose call holds all of the texts. The call then goes no further.
struct Trap {
    texts: Vec<String>,
    spring: Box<dyn Fn(u16) + Send + Sync>,
}

struct Shared {
    service: Service,
    /// Where calls are passed on to; `None` while nobody has said so.
    leads_to: Mutex<Option<SocketAddr>>,
    odds: Mutex<Odds>,
    dice: Mutex<Dice>,
    turns: Mutex<BTreeMap<&'static str, u32>>,
    trap: Mutex<Option<Trap>>,
    /// Calls that are being passed on, or will be.
    under_way: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a lock of a proxy")
}

/// A proxy on loopback, until it is dropped.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    endpoint: String,
    /// Its one task ends with it.
    _front: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy that leads nowhere yet, and then passes everything on as it is.
    pub(crate) async fn start(service: Service, dice: Dice) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            service,
            leads_to: Mutex::default(),
            odds: Mutex::default(),
            dice: Mutex::new(dice),
            turns: Mutex::default(),
            trap: Mutex::default(),
            under_way: AtomicUsize::new(0),
        });
        let mut front = JoinSet::new();
        front.spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, endpoint, _front: front }
    }

    /// Where to call it.
    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Passes calls on to a stand-in from now on.
    pub(crate) fn lead_to(&self, endpoint: &str) {
        let address = endpoint.trim_start_matches("http://").parse().expect("an address of loopback");
        *lock(&self.shared.leads_to) = Some(address);
    }

    /// Has calls go wrong so often from now on.
    pub(crate) fn set(&self, odds: Odds) {
        *lock(&self.shared.odds) = odds;
    }

    /// Calls `spring` with the port of whoever sends something with all of the texts in it, before it has an effect.
    pub(crate) fn set_trap(&self, texts: Vec<String>, spring: impl Fn(u16) + Send + Sync + 'static) {
        *lock(&self.shared.trap) = Some(Trap { texts, spring: Box::new(spring) });
    }

    /// What has become of calls so far, by its name.
    pub(crate) fn turns(&self) -> BTreeMap<&'static str, u32> {
        lock(&self.shared.turns).clone()
    }

    /// How many calls will still have their effect. Receives do not count: they wait for messages.
    pub(crate) fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with this task. Their number is bounded by the SDK's pools in a handful of environments.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Whenever the connection is closed from here, it is reset.
            let _ = stream.set_zero_linger();
            let _ = stream.set_nodelay(true);
            let service = hyper::service::service_fn(|request| answer(Arc::clone(&shared), peer, request));
            // An error is a caller that went away, or a reset.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The one error of a connection that is reset.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset")]
struct Reset;

async fn answer(shared: Arc<Shared>, peer: SocketAddr, call: Request<Incoming>) -> Result<Response<Reply>, Reset> {
    let (mut head, body) = call.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Reset)?.to_bytes();
    for hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(hop);
    }
    if let Some(trap) = &*lock(&shared.trap)
        && trap.texts.iter().all(|text| contains(&body, text))
    {
        (trap.spring)(peer.port());
        return Err(Reset);
    }
    let odds = *lock(&shared.odds);
    let turn = Turn::of(odds, &mut lock(&shared.dice));
    *lock(&shared.turns).entry(turn.name()).or_insert(0) += 1;
    match turn {
        Turn::Reset => return Err(Reset),
        Turn::Unavailable => return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "Service Unavailable")),
        Turn::Throttled => return Ok(throttle(shared.service)),
        Turn::Broken { applied: false } => return Ok(broken()),
        Turn::Broken { applied: true } | Turn::Lost | Turn::Cut | Turn::Delayed(_) | Turn::Well => {}
    }
    let delay = if let Turn::Delayed(delay) = turn { delay } else { Duration::ZERO };
    let call = Request::from_parts(head, Full::new(body));
    // On a task of its own, which goes on when the caller does not wait for it.
    let passed = tokio::spawn(pass_on(Arc::clone(&shared), delay, call)).await;
    let (head, body) = passed.ok().flatten().ok_or(Reset)?.into_parts();
    match turn {
        Turn::Lost => Err(Reset),
        Turn::Broken { .. } => Ok(broken()),
        Turn::Cut => Ok(Response::from_parts(head, Reply::half_of(&body))),
        Turn::Well | Turn::Delayed(_) | Turn::Unavailable | Turn::Throttled | Turn::Reset => {
            Ok(Response::from_parts(head, Reply::new(body)))
        }
    }
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A call that is under way, until this is dropped.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Passes a call on; `None` if it comes to no answer.
async fn pass_on(shared: Arc<Shared>, delay: Duration, call: Request<Full<Bytes>>) -> Option<Response<Bytes>> {
    let target = call.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let _under_way = (!target.ends_with(".ReceiveMessage")).then(|| UnderWay::begin(&shared));
    sleep(delay).await;
    let address = (*lock(&shared.leads_to))?;
    timeout(PASS_LIMIT, exchange(address, call)).await.ok()?
}

async fn exchange(address: SocketAddr, call: Request<Full<Bytes>>) -> Option<Response<Bytes>> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    // It ends when its sender is dropped.
    tokio::spawn(connection);
    let (mut head, body) = sender.send_request(call).await.ok()?.into_parts();
    for hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(hop);
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?.to_bytes();
    Some(Response::from_parts(head, body))
}

fn broken() -> Response<Reply> {
    let body = r#"{"__type":"InternalServerError","message":"Internal server error"}"#;
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "application/x-amz-json-1.0", body)
}

fn throttle(service: Service) -> Response<Reply> {
    let body = match service {
        Service::Sqs => r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Rate exceeded."}"#,
        Service::DynamoDb => {
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput was exceeded."}"#
        }
    };
    refuse(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", body)
}

fn refuse(status: StatusCode, content_type: &'static str, body: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// The body of an answer, of which the second half may never come.
struct Reply {
    to_come: Option<Bytes>,
    /// What its head says.
    length: u64,
    reset: Option<Pin<Box<Sleep>>>,
}

impl Reply {
    fn new(body: Bytes) -> Self {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Self { to_come: Some(body).filter(|body| !body.is_empty()), length, reset: None }
    }

    fn half_of(body: &Bytes) -> Self {
        let half = body.slice(..body.len() / 2);
        Self { to_come: Some(half), reset: Some(Box::pin(sleep(HALF_WAY))), ..Self::new(body.clone()) }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        if let Some(bytes) = self.to_come.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(reset) = &mut self.reset else { return Poll::Ready(None) };
        ready!(reset.as_mut().poll(context));
        Poll::Ready(Some(Err(Reset)))
    }

    fn is_end_stream(&self) -> bool {
        self.to_come.is_none() && self.reset.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
