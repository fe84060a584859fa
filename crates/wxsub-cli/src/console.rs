//! Messages to the user and logs on standard error. A server writes its lines in a separate thread, so that a slow reader cannot
//! block it. Write errors are ignored.

use std::fmt::Display;
use std::io::{self, Write, stderr};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use wxsub_proto::redact::sanitize_line;

/// Prints an error: what failed and what to do.
pub(crate) fn error(text: impl Display) {
    note(format_args!("error: {text}"));
}

/// Prints a warning. The command continues.
pub(crate) fn warning(text: impl Display) {
    note(format_args!("warning: {text}"));
}

/// Prints a line without a prefix.
pub(crate) fn note(text: impl Display) {
    let line = format!("{}\n", sanitize_line(text.to_string().chars()));
    let _ = StderrWriter.write_all(line.as_bytes());
}

/// Capacity of the queue, in lines. Lines beyond it are dropped.
const QUEUE_CAPACITY: usize = 16_384;

/// Maximum time that the process waits for queued lines before it exits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();

enum Message {
    Line(Vec<u8>),
    /// Signals the sender when all earlier lines are written.
    Flush(SyncSender<()>),
}

/// Starts the thread that writes standard error. From now on writes do not block.
///
/// # Errors
///
/// If the thread cannot be started.
pub(crate) fn start_writer_thread() -> io::Result<()> {
    let (sender, messages) = sync_channel(QUEUE_CAPACITY);
    thread::Builder::new().name("stderr".to_owned()).spawn(move || {
        for message in messages {
            match message {
                // A failed write must not stop the thread.
                Message::Line(line) => drop(stderr().write_all(&line)),
                Message::Flush(done) => drop(done.send(())),
            }
        }
    })?;
    // Fails only if the thread was started before.
    let _ = QUEUE.set(sender);
    Ok(())
}

/// Waits until all queued lines are written, for 1 s at most.
pub(crate) fn flush() {
    let Some(sender) = QUEUE.get() else { return };
    let (done, wait) = sync_channel(1);
    if sender.try_send(Message::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// Writes whole lines to standard error, through the thread if it was started.
pub(crate) struct StderrWriter;

impl Write for StderrWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(sender) => {
                let _ = sender.try_send(Message::Line(line.to_vec()));
                Ok(line.len())
            }
            None => stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
