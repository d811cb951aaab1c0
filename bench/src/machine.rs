//! The machine of a run, as far as it explains the figures.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// What a run was made on and with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Its cores, as far as they were ours.
    pub cores: usize,
    /// Memory in GiB.
    pub memory_gib: u64,
    /// The operating system.
    pub system: String,
    /// Versions of the languages, each as it says itself.
    pub languages: Vec<String>,
}

impl Machine {
    /// Looks at this machine. What it does not tell is empty.
    #[must_use]
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|line| line.trim_matches([' ', '\t', ':', '=', '"']).to_owned()).unwrap_or_default()
        };
        let kib: u64 =
            field(&read("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let kernel = read("/proc/sys/kernel/osrelease");
        let languages = [("rustc", "--version"), ("node", "--version"), ("python3", "--version")];
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib.div_ceil(1024 * 1024),
            system: format!("{}, Linux {}", field(&read("/etc/os-release"), "PRETTY_NAME"), kernel.trim()),
            languages: languages.iter().filter_map(|(program, argument)| version(program, argument)).collect(),
        }
    }
}

fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    // Node says only a number.
    Some(if text.starts_with('v') { format!("Node {text}") } else { text })
}
