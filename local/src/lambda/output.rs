//! What a function writes, line by line, to the sink.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::Sink;

/// The longest line that is passed on, in bytes (CloudWatch Logs takes an event of 256 KiB); the rest of it is cut.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// How much is read at once.
const CHUNK_BYTES: usize = 8 * 1024;

/// Passes on lines until the pipe closes, which the end of the child brings about.
pub(super) async fn forward(mut pipe: impl AsyncRead + Unpin, function: String, sink: Sink) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        lines.push(&chunk[..length], &mut |line| sink(&function, line));
    }
    lines.finish(&mut |line| sink(&function, line));
}

/// Cuts a stream of bytes into lines of bounded length.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], emit: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = LINE_BYTES_MAX - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                emit(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            }
        }
    }

    fn finish(self, emit: &mut dyn FnMut(&str)) {
        if !self.line.is_empty() {
            emit(&String::from_utf8_lossy(&self.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.push(chunk, &mut |line| seen.push(line.to_owned()));
        }
        lines.finish(&mut |line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        assert_eq!(lines_of(&[b"one\ntwo\n\nthree"]), ["one", "two", "", "three"]);
        assert_eq!(lines_of(&[b"on", b"e\nt", b"wo", b"\n", b"\nthree"]), ["one", "two", "", "three"]);
        assert_eq!(lines_of(&[]), [""; 0]);
        assert_eq!(lines_of(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let seen = lines_of(&[&long, b"tail", b"tail\nnext\n"]);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].len(), LINE_BYTES_MAX);
        assert_eq!(seen[1], "next");
    }
}
