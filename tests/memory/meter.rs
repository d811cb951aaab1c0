//! How much memory a piece of work takes at the most, and the table of it.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What one shape took, and what it may take.
pub(crate) struct Row {
    pub(crate) shape: String,
    pub(crate) outcome: String,
    pub(crate) peak: usize,
}

/// Runs work on a payload, which the runtime holds at its beginning. Returns what the work gave, and the most bytes that
/// were allocated during it beyond those before it, the payload among them.
///
/// Memory that grows counts as both the old and the new while it is copied, as it may with a real allocator.
pub(crate) async fn peak<T>(payload: Vec<u8>, work: impl AsyncFnOnce(Vec<u8>) -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage() - payload.capacity();
    ALLOCATOR.reset_peak_usage();
    let result = work(payload).await;
    (result, ALLOCATOR.peak_usage() - before)
}

/// Prints what was measured, and checks that all of it is within the bound.
pub(crate) fn check(title: &str, rows: &[Row], bound: usize) {
    println!("\n{title}: the bound is {:.1} MiB without the base", mib(bound));
    for Row { shape, outcome, peak } in rows {
        println!("  {shape:<58} {outcome:<34} {:>7.1} MiB", mib(*peak));
    }
    for Row { shape, peak, .. } in rows {
        assert!(*peak <= bound, "{title}, {shape}: {:.1} MiB, of {:.1}", mib(*peak), mib(bound));
    }
}

#[expect(clippy::cast_precision_loss, reason = "no memory of a function is beyond what a double counts exactly")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / 1_048_576.0
}
