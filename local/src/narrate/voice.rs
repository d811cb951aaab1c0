//! Lines on standard output that hold nothing up, whether anybody reads them or not.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait for a reader, at the most; more are left out, and counted. It is a few seconds of a busy pipeline.
const WAITING_MAX: usize = 10_000;

/// How long the last lines may take to be written.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(1);

enum Said {
    Line(String),
    /// Everything before this has been written.
    All(SyncSender<()>),
}

/// Says lines from a thread of its own. Nobody has to listen: a reader that pauses would hold up whoever writes, and one
/// that has gone would make `println!` panic, which must not happen to the tasks that read what the functions write.
#[derive(Clone)]
pub struct Voice {
    waiting: SyncSender<Said>,
    left_out: Arc<AtomicU64>,
}

impl Voice {
    /// Starts to say lines on `output`; the thread ends with the last clone of this.
    ///
    /// # Panics
    /// When the operating system refuses a thread.
    #[must_use]
    pub fn start(output: impl Write + Send + 'static) -> Self {
        let (waiting, said) = sync_channel(WAITING_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&left_out);
        std::thread::spawn(move || say_all(&said, output, &counted));
        Self { waiting, left_out }
    }

    /// Says a line, soon, and never waits.
    pub fn say(&self, line: impl Into<String>) {
        if self.waiting.try_send(Said::Line(line.into())).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything said before has been written, a second at the most.
    pub fn finish(&self) {
        let (all, written) = sync_channel(1);
        if self.waiting.try_send(Said::All(all)).is_ok() {
            // Whoever does not read gets no more time.
            let _ = written.recv_timeout(LAST_LINES_LIMIT);
        }
    }
}

fn say_all(said: &Receiver<Said>, mut output: impl Write, left_out: &AtomicU64) {
    for said in said {
        // What cannot be written has no reader, who then needs no word of it either.
        match said {
            Said::Line(line) => {
                let _ = writeln!(output, "{line}");
            }
            Said::All(written) => {
                let _ = output.flush();
                let _ = written.try_send(());
            }
        }
        let lines = left_out.swap(0, Ordering::Relaxed);
        if lines > 0 {
            let _ = writeln!(output, "({lines} lines are left out: nobody read them in time)");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// An output that can be held up by its lock.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_said_in_order_and_those_that_nobody_reads_in_time_are_counted() {
        let paper = Paper::default();
        let voice = Voice::start(paper.clone());
        let held = paper.0.lock().unwrap();
        for number in 0..WAITING_MAX + 10 {
            voice.say(number.to_string());
        }
        drop(held);
        while paper.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() < WAITING_MAX {
            std::thread::sleep(Duration::from_millis(1));
        }
        voice.say("end");
        voice.finish();
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let (left_out, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('('));
        assert_eq!((lines[0], lines[1], lines.last()), ("0", "1", Some(&"end")));
        // One may have been on its way to the paper already.
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert!(left_out[0].starts_with("(10 lines ") || left_out[0].starts_with("(9 lines "), "{left_out:?}");
    }
}
