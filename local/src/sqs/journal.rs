//! The journal: every change as one JSON line, handed to the operating system before the change is acknowledged, so
//! that an acknowledged message survives `kill -9`. (It is not synced to the disk on each call: a power cut may take
//! the last seconds, and this is a machine for development.)
//!
//! The first line is a header. Opening replays the file and writes it anew without what is gone, and so does closing:
//! what a deleted message said is then nowhere in the folder any more.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::queues::Queues;
use crate::private;

/// The format that this code writes, and the only one it reads.
const VERSION: u32 = 1;
/// A journal is compacted while in use once it is larger than this, and four times as large as when last compacted.
const COMPACT_BYTES_MIN: u64 = 64 * 1_048_576;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    /// Kept apart from the messages, for the last one may be gone and its place must not be taken again.
    next_seq: u64,
}

pub(crate) struct Journal {
    path: PathBuf,
    pub(crate) file: File,
    /// Held as long as the journal is: two processes would write into one another's lines.
    _lock: File,
    /// Up to here the file is whole lines.
    whole_bytes: u64,
    compacted_bytes: u64,
    /// Lines of changes that were applied but could not be written. They go first when writing works again; until then
    /// nothing else is applied, so this holds one call's changes at most.
    unwritten: Vec<u8>,
}

impl Journal {
    /// Replays the journal in a directory into an empty state, and compacts it.
    ///
    /// # Errors
    /// If another process has the directory, if a line in the middle cannot be read (naming file and line), or if the
    /// directory cannot be written.
    pub(crate) fn open(directory: &Path, queues: &mut Queues) -> anyhow::Result<Journal> {
        private::own_folder(directory).with_context(|| format!("creating {}", directory.display()))?;
        let lock = lock(&directory.join("sqs.lock"))?;
        let path = directory.join("sqs.journal");
        if path.exists() {
            replay(&path, queues)?;
        }
        let (file, bytes) = write_compacted(&path, queues).with_context(|| format!("compacting {}", path.display()))?;
        Ok(Journal { path, file, _lock: lock, whole_bytes: bytes, compacted_bytes: bytes, unwritten: Vec::new() })
    }

    /// Writes what an earlier call could not. A call that changes anything may go on only if this succeeds.
    pub(crate) fn ready(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        // The write that failed may have left part of a line, which must not end up in the middle of the file.
        self.file.set_len(self.whole_bytes)?;
        self.write()
    }

    /// Writes changes; an error means that they are not durable yet.
    pub(crate) fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        for change in changes {
            write_line(&mut self.unwritten, change)?;
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.whole_bytes))?;
        self.file.write_all(&self.unwritten)?;
        self.whole_bytes += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    /// Writes the file anew if it has grown much. If that fails the old file is as good as before.
    pub(crate) fn compact_if_grown(&mut self, queues: &Queues) -> io::Result<()> {
        if self.whole_bytes < COMPACT_BYTES_MIN.max(self.compacted_bytes.saturating_mul(4)) {
            return Ok(());
        }
        self.compact(queues)
    }

    /// Writes the file anew, with what there is now and nothing else. What could not be written before is in it too. If
    /// that fails the old file is as good as before.
    pub(crate) fn compact(&mut self, queues: &Queues) -> io::Result<()> {
        let (file, bytes) = write_compacted(&self.path, queues)?;
        self.file = file;
        self.unwritten.clear();
        self.whole_bytes = bytes;
        self.compacted_bytes = bytes;
        Ok(())
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = private::own_file(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!("{} is held by another process", path.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

fn replay(path: &Path, queues: &mut Queues) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        reader.read_until(b'\n', &mut line).with_context(|| format!("reading {}", path.display()))?;
        // A last line without its end was being written when the process died, so nobody was told of it.
        if line.pop_if(|last| *last == b'\n').is_none() {
            break;
        }
        let place = || format!("{} line {number}", path.display());
        if number == 1 {
            let header: Header = serde_json::from_slice(&line).with_context(place)?;
            ensure!(header.version == VERSION, "{}: version {} is not {VERSION}", place(), header.version);
            queues.count_past(header.next_seq.saturating_sub(1));
        } else {
            let change: Change = serde_json::from_slice(&line).with_context(place)?;
            queues.apply(change).with_context(place)?;
        }
    }
    Ok(())
}

/// Writes the state beside the journal, makes sure that it is on the disk, and puts it in the journal's place. At each
/// moment there is one whole journal; what a death leaves beside it is written over by the next call.
fn write_compacted(path: &Path, queues: &Queues) -> io::Result<(File, u64)> {
    let beside = path.with_extension("journal.new");
    let file = private::own_file(&beside)?;
    file.set_len(0)?;
    let mut writer = BufWriter::new(file);
    write_line(&mut writer, &Header { version: VERSION, next_seq: queues.next_seq() })?;
    for change in queues.snapshot() {
        write_line(&mut writer, &change)?;
    }
    let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let bytes = file.stream_position()?;
    fs::rename(&beside, path)?;
    // From here on the new file is the journal, whatever fails: going on in the old one would write where nobody reads.
    if let Some(Ok(directory)) = path.parent().map(File::open) {
        // What this adds is that the new name survives a power cut too; where it cannot be had, either file is whole.
        let _ = directory.sync_all();
    }
    Ok((file, bytes))
}

fn write_line<T: Serialize>(writer: &mut impl Write, value: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")
}
