//! The program `holdfast` as a script meets it: its exit statuses, and what it says where.

use std::process::{Command, Output};

fn holdfast(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(arguments).env_remove("HOLDFAST_STACK").output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_and_completions_go_to_the_standard_output() {
    for (arguments, said) in [(&["--help"][..], "Exit status:"), (&["completions", "bash"][..], "_holdfast")] {
        let output = holdfast(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains(said), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn what_makes_no_sense_is_2_and_what_cannot_be_done_is_1() {
    for (arguments, status, said) in [
        (&["no-such-command"][..], 2, "no-such-command"),
        (&["--local", "--stack", "prod", "status"][..], 2, "cannot be used with"),
        (&["status"][..], 1, "say what is meant: --local, or --stack NAME"),
        (&["--local", "receipt", "no receipt"][..], 1, "not the id of a receipt"),
        (&["--local", "send", "no JSON"][..], 1, "the event"),
    ] {
        let output = holdfast(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    }
}
