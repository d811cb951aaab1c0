//! Checks a template against the rules that no linter of AWS knows: `cargo run -p tests --bin lint-template [PATH]`.
//!
//! It prints the violations, one a line, and ends with 1 if there are any. PATH is `template.yaml` of this project unless
//! it is given.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = std::env::args_os().nth(1).map_or_else(|| root.join("template.yaml"), PathBuf::from);
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| eprintln!("lint-template: {}: {error}", path.display()))
    };
    let (Ok(template), Ok(runbook)) = (read(&path), read(&root.join("docs/OPERATIONS.md"))) else {
        return ExitCode::FAILURE;
    };
    let violations = tests::template_rules::violations(&template, &runbook);
    violations.iter().for_each(|violation| println!("{violation}"));
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
