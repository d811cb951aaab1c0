//! The rules of the architecture that the compiler does not check.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The names of the dependencies of a package, without those of its tests.
fn dependencies(package: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    section.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn shared_knows_no_lambda_and_the_functions_do_not_know_each_other() {
    let names = |package| dependencies(package).join(" ");
    let shared = names("shared");
    assert!(!shared.contains("lambda") && !shared.contains("sdk-"), "{shared}");
    assert!(!names("functions/ingest").contains("consume"));
    assert!(!names("functions/consume").contains("ingest"));
    for package in ["shared", "functions/ingest", "functions/consume"] {
        assert!(!names(package).contains("receipts"), "{package}");
    }
    assert!(!names("functions/receipts").contains("sqs"), "it knows no queue");
}

#[test]
fn the_types_of_aws_stay_in_the_adapters_and_shells() {
    let allowed = [
        "queue.rs",
        "key_table.rs",
        "handler.rs",
        "dynamo_table.rs",
        "sqs_queue.rs",
        "spill.rs",
        "aws.rs",
        "main.rs",
        "settle.rs",
    ];
    for folder in ["shared/src", "functions/ingest/src", "functions/consume/src", "functions/receipts/src", "cli/src"] {
        for file in rust_files(folder) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let foreign = ["aws_sdk_", "aws_config", "lambda_http", "lambda_runtime", "aws_lambda_events"];
            let knows: Vec<&str> =
                foreign.into_iter().filter(|word| code.clone().any(|line| line.contains(word))).collect();
            let is_adapter =
                allowed.contains(&name) || file.parent().is_some_and(|folder| folder.ends_with("cli/src/aws"));
            assert!(knows.is_empty() || is_adapter, "{} knows {knows:?}", file.display());
        }
    }
}

#[test]
fn a_status_is_written_in_one_place() {
    for file in rust_files("functions/receipts/src").into_iter().chain(rust_files("functions/ingest/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let writes = text.contains("=> 503") || text.contains("status: 200");
        assert_eq!(writes, file.ends_with("response.rs"), "{}", file.display());
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short_enough_to_read_in_one_go() {
    for folder in ["shared", "functions", "cli", "local", "tests"] {
        for file in rust_files(folder) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//! "), "{} does not begin with what it is for", file.display());
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = code.lines().count();
            let is_test = file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs");
            assert!(is_test || lines <= 450, "{} has {lines} lines", file.display());
            for word in ["TODO", "FIXME", "XXX"] {
                assert!(file.ends_with("architecture.rs") || !text.contains(word), "{} has a {word}", file.display());
            }
        }
    }
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let table = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let table = table.split("## Promises and invariants").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut sources = String::new();
    for folder in ["shared", "functions", "cli", "local", "tests"] {
        for file in rust_files(folder) {
            sources.push_str(&std::fs::read_to_string(file).unwrap());
        }
    }
    let names =
        table.lines().filter(|line| line.starts_with("| ")).skip(1).flat_map(|line| line.split('`').skip(1).step_by(2));
    for name in names.filter(|name| name.contains("::")) {
        let last = name.rsplit("::").next().unwrap();
        let module = name.split("::").next().unwrap();
        let known = match last {
            "*" | "tests" => sources.contains(&format!("mod {module};")),
            test => sources.contains(&format!("fn {test}(")),
        };
        assert!(known, "{name} is named in docs/ARCHITECTURE.md, and is no test");
    }
}
