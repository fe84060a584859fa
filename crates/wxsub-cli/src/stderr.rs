//! Standard error. A server waits for nobody who reads it: a thread of its own writes its lines.

use std::io::{self, Write, stderr};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How many lines can wait to be written; those beyond are lost.
const QUEUE: usize = 16_384;

/// How long the end of the process waits for lines that are not written yet.
const FLUSH: Duration = Duration::from_secs(1);

static QUEUED: OnceLock<SyncSender<Message>> = OnceLock::new();

enum Message {
    Line(Vec<u8>),
    /// Everything before this is to be written before an answer is given.
    Flush(SyncSender<()>),
}

/// From now on nobody waits for standard error.
pub(crate) fn start_writer_thread() -> io::Result<()> {
    let (lines, written) = sync_channel(QUEUE);
    thread::Builder::new().name("stderr".to_owned()).spawn(move || {
        for told in written {
            match told {
                // A line that cannot be written must not end those that follow.
                Message::Line(line) => drop(stderr().write_all(&line)),
                Message::Flush(done) => drop(done.send(())),
            }
        }
    })?;
    // It can only be there already.
    let _ = QUEUED.set(lines);
    Ok(())
}

/// Waits, but not for long, until everything is written.
pub(crate) fn flush() {
    let Some(lines) = QUEUED.get() else { return };
    let (done, wait) = sync_channel(1);
    if lines.try_send(Message::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(FLUSH);
    }
}

/// Where whole lines are written.
pub(crate) struct StderrWriter;

impl Write for StderrWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match QUEUED.get() {
            Some(lines) => {
                let _ = lines.try_send(Message::Line(line.to_vec()));
                Ok(line.len())
            }
            None => stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
