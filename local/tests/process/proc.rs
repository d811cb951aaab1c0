//! Processes of functions, as the operating system sees them.

use std::fs;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::PATIENCE;

/// The living environments of the pipeline whose queues are at `sqs`, with their functions' names. They are known by
/// their variables and not by their parent, so that orphans are found too.
pub(crate) fn environments(sqs: &str) -> Vec<(i32, String)> {
    let variable = format!("AWS_ENDPOINT_URL_SQS={sqs}");
    let entries = fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        // A process may be gone by now; what can be read of one that has just ended is empty.
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        environ.split(|byte| *byte == 0).find(|entry| *entry == variable.as_bytes())?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let name = command.strip_suffix(b"\0")?.rsplit(|byte| *byte == 0).next()?;
        Some((pid, String::from_utf8_lossy(name).into_owned()))
    })
    .collect()
}

/// Waits until no environment of a pipeline is left.
pub(crate) fn wait_for_no_environments(sqs: &str) {
    let started = Instant::now();
    loop {
        let left = environments(sqs);
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "orphans: {left:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Sends a signal to a process, which may have ended.
pub(crate) fn signal(pid: i32, signal: Signal) {
    // It fails only if the process is gone, which is what most signals here are for.
    let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
}

/// Which of some processes has a connection from a port of loopback.
pub(crate) fn owner_of_port(port: u16, among: &[i32]) -> Option<i32> {
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&local.as_str())).then(|| fields.get(9).copied()).flatten()
    })?;
    let socket = format!("socket:[{inode}]");
    let holds = |pid: &&i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| link.as_os_str() == socket.as_str())
    };
    among.iter().find(holds).copied()
}
