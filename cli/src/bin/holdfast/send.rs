//! `holdfast send`: events as a producer sends them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::pin::pin;

use anyhow::{Context, ensure};
use cli::http::Http;
use cli::keys::random_key;
use cli::producer::{BadLine, Call, Calls, Delivered, Protocol, deliver, single};
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;

use crate::Answer;
use crate::args::{ProtocolArg, SendArgs};
use crate::output::Output;
use crate::progress::{bar, interrupted};
use crate::text::{BAD, GOOD, count, harmless, styled};
use crate::world::World;

/// Calls under way at the same time.
const IN_FLIGHT: usize = 4;
/// The receipts of a file that are told; there is one a request.
const RECEIPTS_MAX: usize = 1_000;
/// Calls in a row that came to nothing after all tries, after which no further ones are made.
const FAILED_MAX: usize = 10;

pub(crate) async fn send(world: &World, output: &mut Output, arguments: &SendArgs) -> anyhow::Result<Answer> {
    let (http, write_key) = (world.http()?, world.write_key(arguments.write_key.as_deref())?);
    let protocol = match arguments.protocol {
        ProtocolArg::Segment => Protocol::Segment,
        ProtocolArg::Vero => Protocol::Vero,
    };
    let is_path = arguments.call.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    ensure!(is_path, "{:?} is no call of Vero's API, such as events/track", arguments.call);
    if let Some(text) = &arguments.event {
        let call = single(protocol, &arguments.call, &write_key, text, &random_key()).context("the event")?;
        let delivered = deliver(&http, &call, || ()).await;
        let (answer, text, outcome) = match &delivered {
            Delivered::Accepted { .. } => (Answer::Yes, styled(GOOD, "accepted"), "accepted"),
            Delivered::Refused { status, message } => {
                (Answer::No, styled(BAD, &format!("refused: {status} {}", harmless(message))), "refused")
            }
            Delivered::Failed { message } => {
                (Answer::No, styled(BAD, &format!("not accepted: {}", harmless(message))), "failed")
            }
        };
        let receipt = receipt(&delivered).map(harmless);
        output.either(&json!({"outcome": outcome, "detail": detail(&delivered), "receipt": receipt}), &text)?;
        if let Some(receipt) = receipt.filter(|_| !output.json) {
            output.line(&format!("what becomes of it: holdfast receipt {receipt}"))?;
        }
        return Ok(answer);
    }
    let path = arguments.file.as_deref().context("give an event, or --file")?;
    let reader: Box<dyn BufRead + Send> = if path == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).with_context(|| format!("opening {}", path.display()))?))
    };
    send_file(&http, output, Calls::new(reader, protocol, &arguments.call, &write_key)).await
}

fn detail(delivered: &Delivered) -> String {
    match delivered {
        Delivered::Accepted { .. } => String::new(),
        Delivered::Refused { status, message } => format!("{status} {message}"),
        Delivered::Failed { message } => message.clone(),
    }
}

fn receipt(delivered: &Delivered) -> Option<&str> {
    match delivered {
        Delivered::Accepted { receipt } => receipt.as_deref(),
        Delivered::Refused { .. } | Delivered::Failed { .. } => None,
    }
}

/// What became of a file so far.
#[derive(Default)]
struct Sent {
    accepted: usize,
    refused: usize,
    failed: usize,
    bad_lines: usize,
    failed_in_a_row: usize,
    receipts: Vec<String>,
}

/// The calls of a file, read by a thread of its own: a standard input that has nothing for a while must not keep what is
/// under way from its answers. It reads no further than one call ahead.
fn read_aside(calls: Calls<Box<dyn BufRead + Send>>) -> impl Stream<Item = Result<Call, BadLine>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for call in calls {
            if sender.blocking_send(call).is_err() {
                break;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

async fn send_file(http: &Http, output: &mut Output, calls: Calls<Box<dyn BufRead + Send>>) -> anyhow::Result<Answer> {
    let progress = bar(0, "events", output.json);
    let mut sent = Sent::default();
    let mut is_interrupted = false;
    {
        let stop = async {
            interrupted().await;
            is_interrupted = true;
        };
        let answers = read_aside(calls).take_until(stop).map(|call| async move {
            match call {
                Ok(call) => (call.events, Ok(deliver(http, &call, || ()).await)),
                Err(bad) => (0, Err(bad)),
            }
        });
        let mut answers = pin!(answers.buffered(IN_FLIGHT));
        while let Some((events, answer)) = answers.next().await {
            progress.inc_length(events as u64);
            progress.inc(events as u64);
            let trouble = match &answer {
                Ok(delivered @ Delivered::Accepted { .. }) => {
                    sent.accepted += events;
                    sent.receipts
                        .extend(receipt(delivered).map(harmless).filter(|_| sent.receipts.len() < RECEIPTS_MAX));
                    sent.failed_in_a_row = 0;
                    continue;
                }
                Ok(delivered @ Delivered::Refused { .. }) => {
                    sent.refused += events;
                    sent.failed_in_a_row = 0;
                    format!("{} refused: {}", count(events, "event"), detail(delivered))
                }
                Ok(delivered @ Delivered::Failed { .. }) => {
                    sent.failed += events;
                    sent.failed_in_a_row += 1;
                    format!("{} not accepted: {}", count(events, "event"), detail(delivered))
                }
                Err(bad) => {
                    sent.bad_lines += 1;
                    bad.to_string()
                }
            };
            progress.suspend(|| anstream::eprintln!("{}", harmless(&trouble)));
            if sent.failed_in_a_row == FAILED_MAX {
                break;
            }
        }
    }
    progress.finish_and_clear();
    let stopped = is_interrupted || sent.failed_in_a_row == FAILED_MAX;
    let object = json!({
        "accepted": sent.accepted, "refused": sent.refused, "failed": sent.failed, "badLines": sent.bad_lines,
        "stopped": stopped, "receipts": sent.receipts,
    });
    let end = if stopped { "; stopped before the end of the file, which may be sent again" } else { "" };
    let text = format!(
        "{} accepted, {} refused, {} not accepted, {} that cannot be sent{end}",
        count(sent.accepted, "event"),
        sent.refused,
        sent.failed,
        count(sent.bad_lines, "line")
    );
    output.either(&object, &text)?;
    let is_well = sent.refused + sent.failed + sent.bad_lines == 0 && !stopped;
    Ok(if is_well { Answer::Yes } else { Answer::No })
}
