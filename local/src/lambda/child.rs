//! What a child process calls first, to be held to its limits.

/// Limits what this process may allocate, in MiB, to stand in for a function's memory size. An allocation beyond it
/// aborts the process, which the server then reports as a crash, as Lambda does.
///
/// It counts private writable memory by what is mapped, not by what is touched: a little stricter than Lambda. On
/// systems other than Linux it does nothing.
pub fn limit_memory(megabytes: u32) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let bytes = Some(u64::from(megabytes) * 1024 * 1024);
        if let Err(error) = setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes }) {
            // There is no subscriber for traces yet, this early in a process.
            eprintln!("memory is not limited to {megabytes} MiB: {error}");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = megabytes;
}

/// Has the kernel kill this process when the thread that started it ends, so that no environment outlives a server
/// that was itself killed. On systems other than Linux it does nothing, and only an orderly end takes children along.
pub fn die_with_parent() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            eprintln!("this process may outlive its parent: {error}");
        }
    }
}
