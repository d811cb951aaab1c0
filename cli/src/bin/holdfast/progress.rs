//! Bars on the standard error, where it is a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of so many steps. It is not drawn where nobody would see it, nor beside JSON.
pub(crate) fn bar(steps: u64, what: &str, json: bool) -> ProgressBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(steps), target);
    let template = "{bar:30} {human_pos} of {human_len} {prefix}  {elapsed}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// Ends with the first Ctrl-C. A second one ends the program.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}

/// What turns while nobody knows how many steps there are. It is not drawn where nobody would see it, nor beside JSON.
pub(crate) fn spinner(json: bool) -> ProgressBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let spinner = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}  {msg}") {
        spinner.set_style(style);
    }
    spinner
}

/// Tells from now on whether Ctrl-C was pressed. A second one ends the program.
pub(crate) fn is_interrupted() -> impl Fn() -> bool {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    tokio::spawn(async move {
        interrupted().await;
        set.store(true, Ordering::Relaxed);
    });
    move || flag.load(Ordering::Relaxed)
}
