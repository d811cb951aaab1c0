//! The pipeline as a process: started with arguments, read line by line, and gone when dropped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::proc;

/// How long anything may take that is expected to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The parameters of the template that the environment asks for: tests run in either mode of storage.
pub(crate) fn parameters() -> BTreeMap<String, String> {
    let period = shared::config::environment("PACKED_PERIOD");
    period.map(|period| ("PackedPeriod".to_owned(), period)).into_iter().collect()
}

/// What a process has written so far, and the news of more.
#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A pipeline that runs, or has ended.
pub(crate) struct Process {
    child: Child,
    output: Arc<Output>,
    /// That of standard output first; they give back what they do not read any more.
    readers: Vec<JoinHandle<Rest>>,
}

impl Process {
    /// Starts with the given options on free ports, and does not wait.
    pub(crate) fn spawn(options: &[&str]) -> Self {
        Self::spawn_read_until(options, None)
    }

    /// Like [`Self::spawn`], but its standard output is read up to a line only.
    fn spawn_read_until(options: &[&str], last: Option<&'static str>) -> Self {
        let ports = [("--port", "0"), ("--sqs-port", "0"), ("--dynamodb-port", "0")];
        let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
        for (option, port) in ports.iter().filter(|(option, _)| !options.contains(option)) {
            command.args([option, port]);
        }
        command
            .args(parameters().iter().flat_map(|(name, value)| ["--parameter".to_owned(), format!("{name}={value}")]));
        command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = Arc::new(Output::default());
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(read(pipe, Arc::clone(&output), last));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(read(pipe, Arc::clone(&output), None));
        }
        Self { child, output, readers }
    }

    /// Starts on a folder, and waits until everything is there.
    pub(crate) fn on(data: &Path) -> Self {
        Self::ready(Self::spawn(&["--data", utf8(data)]))
    }

    /// Like [`Self::on`], with the functions calling proxies instead of SQS and DynamoDB.
    pub(crate) fn on_through(data: &Path, sqs: &str, dynamodb: &str) -> Self {
        Self::ready(Self::spawn(&["--data", utf8(data), "--functions-sqs", sqs, "--functions-dynamodb", dynamodb]))
    }

    /// Starts in memory, and waits until everything is there.
    pub(crate) fn ephemeral() -> Self {
        Self::ready(Self::spawn(&["--ephemeral"]))
    }

    /// Like [`Self::ephemeral`], but then nobody reads its standard output any more, though it stays open.
    pub(crate) fn unread() -> Self {
        Self::ready(Self::spawn_read_until(&["--ephemeral"], Some("ready")))
    }

    /// Like [`Self::unread`], and the standard output is closed by its reader.
    pub(crate) fn unreadable() -> Self {
        let mut process = Self::unread();
        drop(process.readers.remove(0).join());
        process
    }

    /// Waits until everything is there.
    pub(crate) fn ready(self) -> Self {
        self.wait_for_line("ready", |line| line == "ready");
        self
    }

    /// Where the HTTP API is.
    pub(crate) fn api(&self) -> String {
        self.address("HTTP API ")
    }

    /// Where SQS is.
    pub(crate) fn sqs(&self) -> String {
        self.address("SQS ")
    }

    /// Where DynamoDB is.
    pub(crate) fn dynamodb(&self) -> String {
        self.address("DynamoDB ")
    }

    fn address(&self, name: &str) -> String {
        let line = self.wait_for_line(name, |line| line.starts_with(name));
        line.rsplit(' ').next().expect("an address ends the line").to_owned()
    }

    /// Everything that it has written so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.output().clone()
    }

    fn output(&self) -> MutexGuard<'_, Vec<String>> {
        self.output.lines.lock().expect("no reader panics")
    }

    /// Waits for a line, earlier ones included.
    pub(crate) fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let missing = |lines: &mut Vec<String>| !lines.iter().any(|line| wanted(line));
        let (lines, _) =
            self.output.more.wait_timeout_while(self.output(), PATIENCE, missing).expect("no reader panics");
        let found = lines.iter().find(|line| wanted(line));
        found.unwrap_or_else(|| panic!("no line {what:?} in {lines:#?}")).clone()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        proc::signal(i32::try_from(self.child.id()).expect("Linux counts processes within an i32"), signal);
    }

    /// Waits for the end. Returns the exit code, if it was not a signal that ended it, and how long it took.
    pub(crate) fn ended(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None => assert!(started.elapsed() < PATIENCE, "it does not end: {:#?}", self.lines()),
            }
            sleep(LOOK);
        };
        let elapsed = started.elapsed();
        for reader in self.readers.drain(..) {
            while !reader.is_finished() {
                assert!(started.elapsed() < 2 * PATIENCE, "a child of it holds its output open");
                sleep(LOOK);
            }
            drop(reader.join().expect("no reader panics"));
        }
        (status.code(), elapsed)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both calls fail only if it has ended already; its children go with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is left of a pipe.
type Rest = Box<dyn Read + Send>;

/// Reads lines until the pipe closes, or just past the last wanted one.
fn read(pipe: impl Read + Send + 'static, output: Arc<Output>, last: Option<&'static str>) -> JoinHandle<Rest> {
    spawn(move || {
        let mut pipe = BufReader::new(pipe);
        for line in pipe.by_ref().lines().map_while(Result::ok) {
            let done = last == Some(line.as_str());
            output.lines.lock().expect("no reader panics").push(line);
            output.more.notify_all();
            if done {
                break;
            }
        }
        Box::new(pipe) as Rest
    })
}

/// Starts a process that is to end by itself. Returns its exit code and all that it wrote.
pub(crate) fn run(options: &[&str]) -> (Option<i32>, String) {
    let mut process = Process::spawn(options);
    let (code, _) = process.ended();
    (code, process.lines().join("\n"))
}

/// A path as an option takes it.
pub(crate) fn utf8(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
