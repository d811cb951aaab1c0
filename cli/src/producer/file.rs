//! A file of events, one a line, as calls. It is read as it is sent, so that its size does not matter.

use std::io::{BufRead, Read};

use shared::keys::hash;

use super::call::{Call, Protocol, batch, item, single};

/// The most events of one batch.
pub const BATCH_ITEMS_MAX: usize = 100;
/// The most bytes of one batch, unless a single event has more: as much as Segment takes.
pub const BATCH_BYTES_MAX: usize = 500_000;
/// The longest line in bytes.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// A line that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadLine {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// The calls that send a file. With Segment, events go in batches, and one without a `messageId` gets one that is made of
/// its line: so a file may be sent again. With Vero, each is a call of its own.
pub struct Calls<R> {
    reader: R,
    protocol: Protocol,
    vero_call: String,
    write_key: String,
    line: usize,
    /// Items of the batch to come.
    pending: Vec<String>,
    ended: bool,
}

impl<R: BufRead> Calls<R> {
    /// The calls for the lines of `reader`.
    pub fn new(reader: R, protocol: Protocol, vero_call: &str, write_key: &str) -> Self {
        let (vero_call, write_key) = (vero_call.to_owned(), write_key.to_owned());
        Self { reader, protocol, vero_call, write_key, line: 0, pending: Vec::new(), ended: false }
    }

    /// The next line that is not empty.
    fn next_line(&mut self) -> Option<Result<String, BadLine>> {
        while !self.ended {
            let mut bytes = Vec::new();
            let room = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
            let read = self.reader.by_ref().take(room).read_until(b'\n', &mut bytes);
            self.line += 1;
            let bad = |problem: String| Some(Err(BadLine { line: self.line, problem }));
            match read {
                Ok(0) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return bad(format!("the file cannot be read on: {error}"));
                }
                Ok(_) if bytes.len() > LINE_BYTES_MAX => {
                    // What follows is the rest of it, and no event.
                    self.ended = true;
                    return bad(format!("it has more than {LINE_BYTES_MAX} bytes; nothing behind it was sent"));
                }
                Ok(_) => match String::from_utf8(bytes) {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => return Some(Ok(text.trim().to_owned())),
                    Err(_) => return bad("it is not UTF-8".to_owned()),
                },
            }
        }
        None
    }

    /// What tells the event of this line from all others, those of other files included.
    fn id(&self, text: &str) -> String {
        hash(&["holdfast send", &self.line.to_string(), text])
    }

    fn next_batch(&mut self) -> Option<Result<Call, BadLine>> {
        while self.pending.len() < BATCH_ITEMS_MAX {
            let text = match self.next_line() {
                Some(Ok(text)) => text,
                // What came before it stays for the next call.
                Some(Err(bad)) => return Some(Err(bad)),
                None => break,
            };
            let item = match item(&text, &self.id(&text)) {
                Ok(item) => item,
                Err(problem) => return Some(Err(BadLine { line: self.line, problem: problem.to_string() })),
            };
            let bytes: usize = self.pending.iter().map(String::len).sum();
            if !self.pending.is_empty() && bytes + item.len() > BATCH_BYTES_MAX {
                let items = std::mem::replace(&mut self.pending, vec![item]);
                return Some(Ok(batch(&self.write_key, &items)));
            }
            self.pending.push(item);
        }
        let items = std::mem::take(&mut self.pending);
        (!items.is_empty()).then(|| Ok(batch(&self.write_key, &items)))
    }
}

impl<R: BufRead> Iterator for Calls<R> {
    type Item = Result<Call, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.protocol {
            Protocol::Segment => self.next_batch(),
            Protocol::Vero => Some(match self.next_line()? {
                Ok(text) => single(Protocol::Vero, &self.vero_call, &self.write_key, &text, "")
                    .map_err(|problem| BadLine { line: self.line, problem: problem.to_string() }),
                Err(bad) => Err(bad),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(text: &str, protocol: Protocol) -> Vec<Result<Call, BadLine>> {
        Calls::new(text.as_bytes(), protocol, "events/track", "dev").collect()
    }

    fn events(calls: &[Result<Call, BadLine>]) -> Vec<usize> {
        calls.iter().map(|call| call.as_ref().map_or(0, |call| call.events)).collect()
    }

    #[test]
    fn a_bad_line_keeps_no_other_from_being_sent() {
        let found = calls("{\"a\":1}\n\nnonsense\n{\"a\":2}", Protocol::Segment);
        assert_eq!(events(&found), [0, 2]);
        assert!(found[0].as_ref().unwrap_err().to_string().starts_with("line 3: it is not a JSON object"));
        let found = calls("{}\n[]\n{}\n", Protocol::Vero);
        assert_eq!(events(&found), [1, 0, 1]);
    }

    #[test]
    fn batches_keep_to_both_limits() {
        assert_eq!(events(&calls(&"{}\n".repeat(250), Protocol::Segment)), [100, 100, 50]);
        let large = format!("{{\"a\":\"{}\"}}\n", "x".repeat(200_000));
        assert_eq!(events(&calls(&large.repeat(5), Protocol::Segment)), [2, 2, 1]);
        let too_large = format!("{{}}\n{}\n{{}}", "x".repeat(LINE_BYTES_MAX + 1));
        assert_eq!(events(&calls(&too_large, Protocol::Segment)), [0, 1]);
    }

    #[test]
    fn a_file_that_is_sent_again_has_the_same_ids_and_equal_lines_have_their_own() {
        let bodies = |text: &str| -> Vec<_> {
            calls(text, Protocol::Segment).into_iter().map(|call| call.unwrap().body).collect()
        };
        assert_eq!(bodies("{}\n{}\n"), bodies("{}\n{}\n"));
        let body: serde_json::Value = serde_json::from_slice(&bodies("{}\n{}\n")[0]).unwrap();
        assert_ne!(body["batch"][0]["messageId"], body["batch"][1]["messageId"]);
    }
}
