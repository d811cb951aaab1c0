//! Producers: they send, lose patience, send again, or give up.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ingest::accept::Call;
use ingest::response::Reply;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::answers::judge_answer;
use super::calls::{Author, KEYS, Request};
use super::lambda::Cloud;
use super::model::Attempt;

/// For how long a producer tries to bring a request through: within Vero's window, so that a repetition stays one.
const TRIES_FOR: Duration = Duration::from_secs(200);

/// How a producer deals with answers that it does not like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Temper {
    /// It never sends again.
    Careless,
    /// It sends again on anything but 200, so many times.
    Persistent(u32),
    /// It sends again, and whether or not it was answered 200.
    Doubting,
}

/// A producer with all that it has to say.
pub(crate) async fn produce(cloud: Rc<Cloud>) {
    let world = Arc::clone(&cloud.world);
    let chance = &world.chance;
    // Producers' clocks are up to two hours wrong, either way.
    let skew = i64::try_from(chance.from(0, chance.pick(&[0, 1_000, 14_400_000]))).unwrap_or(0) - 1_000;
    let temper = chance.pick(&[Temper::Careless, Temper::Persistent(3), Temper::Persistent(12), Temper::Doubting]);
    let patience = chance.pick(&[Duration::from_secs(10), Duration::from_secs(5), Duration::from_millis(300)]);
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    let calls = chance.from(1, world.scenario.calls_max);
    let span = u64::try_from(world.scenario.span.as_millis()).unwrap_or(u64::MAX);
    for _ in 0..calls {
        sleep(chance.millis(0, 2 * span / calls)).await;
        let key = chance.pick(&[0, 0, 0, 1, 1, 1, 1, 1, 2]);
        let large = world.scenario.large && running.is_empty();
        let (millis, malice) = (world.millis() + skew, world.scenario.malice);
        let author = Author { chance, malice, millis, number: cloud.number(), key, large };
        let request = author.request();
        let mirrored = chance.hits(0.15).then(|| request.mirrored(1 - key.min(1)));
        for request in [Some(request), mirrored].into_iter().flatten() {
            let cloud = Rc::clone(&cloud);
            running.push(tokio::task::spawn_local(async move {
                bring_through(cloud, request, temper, patience, skew, |_| ()).await;
            }));
        }
    }
    for call in running {
        call.await.expect("no call panics");
    }
}

/// Sends a request as often as its producer likes. `seen` is told what comes of each time; the last is returned.
pub(crate) async fn bring_through(
    cloud: Rc<Cloud>,
    mut request: Arc<Request>,
    temper: Temper,
    patience: Duration,
    skew: i64,
    seen: impl Fn(Option<u16>),
) -> Option<u16> {
    let world = Arc::clone(&cloud.world);
    let began = world.elapsed();
    let first_sent = world.millis() + skew;
    for attempt in 0.. {
        let sent = if request.sent_anew { world.millis() + skew } else { first_sent };
        let status = send(&cloud, &request, sent, patience).await;
        seen(status);
        let again = match temper {
            Temper::Careless => false,
            Temper::Persistent(most) => attempt < most && status != Some(200),
            Temper::Doubting => attempt < 2 || (attempt < 8 && status != Some(200)),
        };
        // What cannot be cured is not tried for ever.
        let hopeless = status.is_some_and(|status| (400..500).contains(&status)) && attempt > 0;
        let pause = world.chance.millis(50, 500) * 2_u32.pow(attempt.min(7));
        if !again || hopeless || world.elapsed() + pause > began + TRIES_FOR {
            return status;
        }
        // Somebody has logged in since, or somebody else.
        if world.scenario.fills_in && world.chance.hits(0.5) {
            let filled_in = request.filled_in(&format!("u{}", world.chance.index(4)));
            if filled_in.said.iter().zip(&request.said).any(|(now, before)| now.subject != before.subject) {
                world.note("user filled in at a retry", || request.path.to_owned());
            }
            request = filled_in;
        }
        world.note("request sent again", || format!("{} after {status:?}", request.path));
        sleep(pause).await;
    }
    None
}

/// Sends a request once. Returns the status, unless the answer did not come in time, or not at all.
async fn send(cloud: &Rc<Cloud>, request: &Arc<Request>, sent: i64, patience: Duration) -> Option<u16> {
    let world = &cloud.world;
    sleep(world.chance.millis(1, 40)).await;
    if world.befalls(world.scenario.trouble / 4.0) {
        world.note("request lost", || request.path.to_owned());
        sleep(patience).await;
        return None;
    }
    let (reply, answer) = oneshot::channel();
    tokio::task::spawn_local(serve(Rc::clone(cloud), Arc::clone(request), sent, reply));
    let Ok(answer) = timeout(patience, answer).await else {
        world.note("producer out of patience", || request.path.to_owned());
        return None;
    };
    if world.befalls(world.scenario.trouble / 4.0) {
        world.note("answer lost", || request.path.to_owned());
        return None;
    }
    answer.ok().map(|reply| reply.status)
}

/// The request as it arrives: an environment answers it, whether or not the producer still waits.
async fn serve(cloud: Rc<Cloud>, request: Arc<Request>, sent: i64, reply: oneshot::Sender<Reply>) {
    let receipt = format!("receipt{:05}", cloud.number());
    let (body, sent_millis) = request.body(sent);
    let credentials = STANDARD.encode(format!("{}:", KEYS[request.key].0));
    let call = Call {
        method: "POST".to_owned(),
        path: request.path.to_owned(),
        authorization: Some(format!("Basic {credentials}")),
        content_type: Some("application/json".to_owned()),
        body,
        ..Call::default()
    };
    let world = &cloud.world;
    let admit = |env: &super::world::Env| {
        let received_millis = shared::clock::Clock::now(env).as_millis();
        let attempt = Attempt { request: Arc::clone(&request), received_millis, sent_millis, status: None };
        world.note("request", || {
            let said: Vec<String> =
                request.said.iter().map(|said| format!("{} {} {:?}", said.kind, said.subject, said.id)).collect();
            format!(
                "{receipt} {} {} with {} at {} says {said:?}",
                env.name, request.path, KEYS[request.key].0, received_millis
            )
        });
        world.notes().attempts.insert(receipt.clone(), attempt);
    };
    let (env, answer) = cloud.serve(&call, &receipt, admit).await;
    let Ok(answer) = answer else { return };
    judge_answer(&env, &request, &receipt, &answer);
    // The producer may be gone.
    let _ = reply.send(answer);
}
