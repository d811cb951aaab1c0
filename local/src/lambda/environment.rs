//! One environment: a child process, its Runtime API, and the task that keeps it until it ends.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, io};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use super::runtime_api::{Answer, Invocation, Phase, RuntimeApi, router};
use super::spawner::Spawner;
use super::{ACCOUNT, FunctionSpec, InvokeError, REGION, Sink, epoch_millis, output};

/// How long an environment may take from its start until it asks for work (AWS: 10 s for the Init phase).
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// How long a killed child may take to be gone. SIGKILL needs no consent, so this only bounds a wedged machine.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How an environment is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Live,
    /// Asked to, with SIGTERM.
    Terminate,
    /// Made to, with SIGKILL.
    Kill,
}

/// A living child, or one that has just ended. Dropping it kills the child.
pub(super) struct Environment {
    api: Arc<RuntimeApi>,
    order: watch::Sender<Order>,
    /// How the child ended, once it has.
    exit: watch::Receiver<Option<String>>,
}

impl Environment {
    /// Starts a child. It holds `place` until it is gone.
    ///
    /// # Errors
    ///
    /// When the command cannot be run, or no port can be had.
    pub(super) async fn start(
        spec: &FunctionSpec,
        sink: Sink,
        spawner: &Spawner,
        place: OwnedSemaphorePermit,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut child = spawner.spawn(command(spec, &address.to_string())).await?;

        // The three tasks below end with the child: its pipes close, and its keeper ends the server.
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(output::forward(pipe, spec.name.clone(), Arc::clone(&sink)));
        }
        if let Some(pipe) = child.stderr.take() {
            tokio::spawn(output::forward(pipe, spec.name.clone(), sink));
        }
        let api = Arc::new(RuntimeApi::new());
        let routes = router(Arc::clone(&api));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::warn!(%error, "a Runtime API ended");
            }
        });
        let (order, orders) = watch::channel(Order::Live);
        let (exited, exit) = watch::channel(None);
        tokio::spawn(keep(child, orders, exited, place, server));
        Ok(Self { api, order, exit })
    }

    /// Waits until the child asks for work.
    ///
    /// # Errors
    ///
    /// [`InvokeError::InitFailed`]; the child is then being killed.
    pub(super) async fn ready(&self) -> Result<(), InvokeError> {
        let mut phase = self.api.phase();
        let mut exit = self.exit.clone();
        let started = timeout(INIT_LIMIT, async {
            tokio::select! {
                biased;
                phase = phase.wait_for(|phase| *phase != Phase::Starting) => match phase.as_deref() {
                    Ok(Phase::InitFailed(report)) => Err(report.clone()),
                    Ok(Phase::Starting | Phase::Waiting | Phase::Busy) | Err(_) => Ok(()),
                },
                status = exit.wait_for(Option::is_some) => Err(format!("Runtime exited with error: {}", text(&status))),
            }
        });
        let limit = || Err(format!("it did not ask for work within {} s", INIT_LIMIT.as_secs()));
        started.await.unwrap_or_else(|_| limit()).map_err(|reason| {
            self.kill();
            InvokeError::InitFailed { reason }
        })
    }

    /// Runs one invocation. After a time-out the child is gone when this returns.
    ///
    /// # Errors
    ///
    /// What the function reported, or how it ended.
    pub(super) async fn run(&self, spec: &FunctionSpec, payload: Bytes, root: &str) -> Result<Bytes, InvokeError> {
        let parent = &Uuid::new_v4().simple().to_string()[..16];
        let millis = i64::try_from(spec.timeout.as_millis()).unwrap_or(i64::MAX);
        let answer = self.api.give(Invocation {
            request_id: Uuid::new_v4().to_string(),
            deadline_ms: epoch_millis().saturating_add(millis),
            function_arn: format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", spec.name),
            trace: format!("Root={root};Parent={parent};Sampled=0"),
            payload,
        });
        let mut exit = self.exit.clone();
        let outcome = timeout(spec.timeout, async {
            tokio::select! {
                biased;
                answer = answer => answer.map_err(|_| String::from("unknown")),
                status = exit.wait_for(Option::is_some) => Err(text(&status)),
            }
        });
        match outcome.await {
            Ok(Ok(Answer::Response(bytes))) => Ok(bytes),
            Ok(Ok(Answer::Error(payload))) => Err(InvokeError::FunctionError { payload }),
            Ok(Ok(Answer::TooLarge)) => Err(InvokeError::ResponseTooLarge),
            Ok(Err(status)) => Err(InvokeError::Crashed { status }),
            Err(_) => {
                self.kill();
                self.gone(KILL_LIMIT).await;
                Err(InvokeError::TimedOut { after: spec.timeout })
            }
        }
    }

    /// Waits until the child asks for more work, or has ended. `true` if it can be used again.
    pub(super) async fn settled(&self) -> bool {
        let mut phase = self.api.phase();
        let mut exit = self.exit.clone();
        tokio::select! {
            biased;
            _ = exit.wait_for(Option::is_some) => false,
            _ = phase.wait_for(|phase| *phase == Phase::Waiting) => self.is_usable(),
        }
    }

    /// Whether the child lives and nobody has ordered its end.
    pub(super) fn is_usable(&self) -> bool {
        *self.order.borrow() == Order::Live && self.exit.borrow().is_none()
    }

    /// Orders the child to be killed; it is gone soon after.
    pub(super) fn kill(&self) {
        self.order.send_replace(Order::Kill);
    }

    /// Asks the child to end.
    pub(super) fn terminate(&self) {
        self.order.send_if_modified(|order| {
            let living = *order == Order::Live;
            if living {
                *order = Order::Terminate;
            }
            living
        });
    }

    /// Waits until the child is gone, at most for `limit`. `false` if it is still there.
    pub(super) async fn gone(&self, limit: Duration) -> bool {
        timeout(limit, self.exit.clone().wait_for(Option::is_some)).await.is_ok()
    }
}

fn text(status: &Result<watch::Ref<'_, Option<String>>, watch::error::RecvError>) -> String {
    status.as_ref().ok().and_then(|status| (**status).clone()).unwrap_or_else(|| "unknown".to_owned())
}

/// Waits for the child's end, bringing it about when ordered or when nobody holds the environment any more.
async fn keep(
    mut child: Child,
    mut orders: watch::Receiver<Order>,
    exited: watch::Sender<Option<String>>,
    place: OwnedSemaphorePermit,
    server: JoinHandle<()>,
) {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            changed = orders.changed() => {
                let order = if changed.is_ok() { *orders.borrow_and_update() } else { Order::Kill };
                match order {
                    Order::Live => {}
                    Order::Terminate => terminate(&mut child),
                    Order::Kill => {
                        // It fails only for a child that has ended by itself.
                        let _ = child.start_kill();
                        break child.wait().await;
                    }
                }
            }
        }
    };
    server.abort();
    // The place is free before anyone hears of the end, so that whoever does can start another environment.
    drop(place);
    exited.send_replace(Some(describe(&status)));
}

fn describe(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Sends SIGTERM where there is a safe call for it, else SIGKILL.
fn terminate(child: &mut Child) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok()) {
            return;
        }
    }
    // It fails only for a child that has ended by itself.
    let _ = child.start_kill();
}

/// The child's command, with the variables that Lambda sets and nothing of this process's own but `PATH`. Without `HOME`
/// in particular, as on AWS: the SDK would read the person's own `~/.aws/config`, whose settings may forbid the use of
/// endpoints on this machine.
fn command(spec: &FunctionSpec, runtime_api: &str) -> Command {
    let mut command = Command::new(&spec.command);
    command.args(&spec.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A group of its own: an interrupt from the terminal reaches the server alone, which then stops in order.
    #[cfg(unix)]
    command.process_group(0);
    command.env_clear();
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("TZ", ":UTC")
        .envs(&spec.environment);
    // From here on as on AWS: these are reserved, whatever the template says.
    let now = shared::clock::Timestamp::from_millis_clamped(epoch_millis());
    let stream = format!("{}/[$LATEST]{}", now.day().replace('-', "/"), Uuid::new_v4().simple());
    command
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", &spec.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory_mb.to_string())
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", spec.name))
        .env("AWS_LAMBDA_LOG_STREAM_NAME", stream)
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023")
        .env("_HANDLER", "bootstrap");
    if let Some(root) = spec.command.parent() {
        command.env("LAMBDA_TASK_ROOT", root);
    }
    command
}
