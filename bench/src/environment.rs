//! One environment of a subject: a child process with the variables that Lambda sets, and what it takes.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::runtime_api::{Answer, RuntimeApi, router};
use crate::sink::Sink;
use crate::subject::{Function, Kind, Subject};

/// How long an environment may take from its start until it asks for work.
const INIT_LIMIT: Duration = Duration::from_secs(30);
/// How long one invocation may take.
const INVOKE_LIMIT: Duration = Duration::from_secs(60);
/// How long a killed child may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// The most of a log that an error quotes, in bytes.
const LOG_TAIL: usize = 2_000;

/// A living environment. Dropping it kills the child.
pub struct Environment {
    child: Child,
    cpu: ClockId,
    status: String,
    api: Arc<RuntimeApi>,
    server: JoinHandle<()>,
    started: Instant,
    log: std::path::PathBuf,
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Environment {
    /// Starts a child. What it prints goes to a file in `logs`.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(subject: &Subject, sink: &Sink, logs: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let api = Arc::new(RuntimeApi::default());
        let routes = router(Arc::clone(&api));
        // It ends with the environment.
        let server = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        let log = logs.join(format!("{}-{:?}.log", subject.function.name(), subject.kind).to_lowercase());
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = command(subject, sink, &address);
        command.stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", subject.command.display()))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).context("it ended at once")?;
        let cpu = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).context("its CPU time cannot be read")?;
        Ok(Self { child, cpu, status: format!("/proc/{pid}/status"), api, server, started, log })
    }

    /// Waits until it asks for its next event.
    ///
    /// # Errors
    /// It does not, within half a minute.
    pub async fn idle(&self) -> anyhow::Result<()> {
        self.api.idle(INIT_LIMIT).await.with_context(|| self.last_words())
    }

    /// Has it work on an event.
    ///
    /// # Errors
    /// It fails, or takes longer than a minute.
    pub async fn invoke(&self, payload: Bytes) -> anyhow::Result<Answer> {
        self.api.invoke(payload, INVOKE_LIMIT).await.with_context(|| self.last_words())
    }

    /// The CPU time of the process so far, of all its threads, in user and system mode.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(Duration::from(self.cpu.now().with_context(|| self.last_words())?))
    }

    /// The time since it was started.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The most memory that it has had at one time (`VmHWM`), in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(&self.status).with_context(|| self.last_words())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kib.with_context(|| format!("{} tells no peak", self.status))
    }

    /// How many bytes it has printed so far.
    ///
    /// # Errors
    /// Its log is gone.
    pub fn log_bytes(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(&self.log)?.len())
    }

    /// Ends it.
    ///
    /// # Errors
    /// It is still there after five seconds.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        tokio::time::timeout(KILL_LIMIT, self.child.kill()).await.context("it cannot be killed")??;
        Ok(())
    }

    /// Asks it to end, and returns what it has printed.
    ///
    /// # Errors
    /// It is still there after five seconds.
    pub async fn terminate(mut self) -> anyhow::Result<String> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        tokio::time::timeout(KILL_LIMIT, self.child.wait()).await.context("it does not end")??;
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned();
        format!("{} ends with:\n{tail}", self.log.display())
    }
}

/// The child's command, with what Lambda sets, and of this process's own variables `PATH` alone.
fn command(subject: &Subject, sink: &Sink, runtime_api: &str) -> Command {
    let function = subject.function.name();
    let mut command = Command::new(&subject.command);
    command.args(&subject.args).current_dir(&subject.folder).stdin(Stdio::null()).kill_on_drop(true).env_clear();
    if let Some(path) = shared::config::environment("PATH") {
        command.env("PATH", path);
    }
    let queue = |name: &str| format!("https://{}/000000000000/{name}", sink.sqs);
    command
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .env("AWS_ENDPOINT_URL_SQS", format!("https://{}", sink.sqs))
        .env("AWS_ENDPOINT_URL_DYNAMODB", format!("https://{}", sink.dynamodb))
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", function)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", subject.function.memory_mib().to_string())
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function}"))
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[1]00000000000000000000000000000000")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_LOG_LEVEL", "INFO")
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("_HANDLER", "bootstrap")
        .env("LAMBDA_TASK_ROOT", &subject.folder)
        .env("TZ", ":UTC")
        .env("LANG", "en_US.UTF-8")
        // Each language has its own way to be told of an authority; what the system trusts is read besides.
        .env("SSL_CERT_FILE", &sink.bundle)
        .env("AWS_CA_BUNDLE", &sink.bundle)
        .env("NODE_EXTRA_CA_CERTS", &sink.authority)
        .env("EVENTS_QUEUE_URL", queue("events"))
        .env("EVENTS_TABLE_NAME", "events")
        .env("SPILL_TABLE_NAME", "spill");
    if subject.function == Function::Consume {
        command
            .env("QUARANTINE_QUEUE_URL", queue("quarantine"))
            .env("DEAD_LETTERS_TABLE_NAME", "dead-letters")
            .env("IDEMPOTENCY_TABLE_NAME", "idempotency")
            .env("RECEIVES_MAX", "60");
    }
    if subject.kind == Kind::Packed {
        command.env("PACKED_PERIOD", "always");
    }
    command
}
