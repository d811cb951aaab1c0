//! What keeps the pipeline from starting, and how it says so.

use std::fs;
use std::net::TcpListener;

use crate::client::{post, track, wait_until_stored};
use crate::process::{Process, run, utf8};

#[test]
fn a_taken_port_is_an_error_that_names_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for option in ["--port", "--sqs-port", "--dynamodb-port"] {
        let (code, output) = run(&["--ephemeral", option, &port]);
        assert_eq!(code, Some(1), "{output}");
        let says = format!("error: listening on 127.0.0.1:{port}; {option} takes another port: ");
        assert!(output.starts_with(&says) && output.lines().count() == 1, "{output}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    for data in [file.clone(), file.join("data")] {
        let (code, output) = run(&["--data", utf8(&data)]);
        assert_eq!(code, Some(1), "{output}");
        assert!(output.starts_with("error: ") && output.contains(utf8(&data)), "{output}");
        assert_eq!(output.lines().count(), 1, "{output}");
    }
}

#[test]
fn help_tells_every_option() {
    let (code, output) = run(&["--help"]);
    assert_eq!(code, Some(0));
    let options = ["--port", "--sqs-port", "--dynamodb-port", "--data", "--ephemeral", "--version"];
    for option in options.iter().chain(&["--functions-sqs", "--functions-dynamodb", "--no-functions"]) {
        assert!(output.contains(option), "{output}");
    }
    assert_eq!(run(&["--no-such-option"]).0, Some(2));
    assert_eq!(run(&["--ephemeral", "--data", "somewhere"]).0, Some(2));
}

#[tokio::test]
async fn damaged_data_are_an_error_that_names_file_and_line() {
    let data = tempfile::tempdir().expect("a temporary folder");
    drop(Process::on(data.path()));
    let journal = data.path().join("sqs/sqs.journal");
    let whole = fs::read_to_string(&journal).expect("a journal");
    let mut lines: Vec<&str> = whole.lines().collect();
    lines[1] = "{\"sent\":";
    fs::write(&journal, lines.join("\n") + "\n").expect("the journal is written");
    let (code, output) = run(&["--data", utf8(data.path())]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&format!("{} line 2", journal.display())), "{output}");

    // A last line that was being written at the death is none, and nothing was acknowledged of it.
    fs::write(&journal, whole + "{\"sent\":").expect("the journal is written");
    let process = Process::on(data.path());
    assert_eq!(post(&process.api(), "/v1/track", &track("m1")).expect("an answer"), 200);
    drop(process);

    let database = data.path().join("dynamodb/dynamodb.sqlite");
    fs::remove_file(data.path().join("dynamodb/dynamodb.sqlite-wal")).expect("a log");
    fs::write(&database, "no database ".repeat(1_000)).expect("the database is written");
    let (code, output) = run(&["--data", utf8(data.path())]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(utf8(&database)) && output.lines().count() == 1, "{output}");
}

#[tokio::test]
async fn a_second_pipeline_on_the_same_data_is_refused_and_the_first_goes_on() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let first = Process::on(data.path());
    let (code, output) = run(&["--data", utf8(data.path())]);
    assert_eq!(code, Some(1), "{output}");
    let says = format!("error: another pipeline uses {}; --data takes another folder", data.path().display());
    assert_eq!(output, says);
    assert_eq!(post(&first.api(), "/v1/track", &track("m1")).expect("an answer"), 200);
    wait_until_stored(&first.dynamodb(), &["m1".to_owned()]).await;
}
