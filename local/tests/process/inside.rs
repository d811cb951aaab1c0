//! The pipeline inside this process, for tests that turn its clock or its faults. Its functions are processes still.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use local::lambda::Sink;
use local::pipeline::{Detours, Options, Pipeline};
use shared::clock::{Clock, SystemClock, Timestamp};

/// More than the visibility time-out of the events queue (361 s in the template).
pub(crate) const VISIBILITY: Duration = Duration::from_secs(400);

/// The machine's clock, moved forward, so that nobody has to wait for a visibility time-out.
#[derive(Default)]
pub(crate) struct Ahead(AtomicU64);

impl Ahead {
    /// Moves the clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0.load(Ordering::SeqCst)))
    }
}

/// Starts a pipeline on free ports.
pub(crate) async fn start(data: Option<&Path>, clock: &Arc<Ahead>) -> Pipeline {
    // What the functions write shows only in the output of a test that has failed.
    let sink = Arc::new(|function: &str, line: &str| println!("{function}: {line}"));
    start_with(data, clock, Detours::default(), sink).await
}

/// Starts a pipeline on free ports, with something between its parts, and with what its functions write for `sink`.
pub(crate) async fn start_with(data: Option<&Path>, clock: &Arc<Ahead>, detours: Detours, sink: Sink) -> Pipeline {
    let options = Options {
        port: 0,
        sqs_port: 0,
        dynamodb_port: 0,
        data: data.map(Path::to_owned),
        command: env!("CARGO_BIN_EXE_local").into(),
        clock: Arc::<Ahead>::clone(clock),
        parameters: crate::process::parameters(),
        detours,
    };
    Pipeline::start(options, sink).await.expect("the pipeline starts")
}

/// Lets a visibility time-out pass.
pub(crate) fn let_visibility_pass(pipeline: &Pipeline, clock: &Ahead) {
    clock.advance(VISIBILITY);
    pipeline.sqs().poke();
}
