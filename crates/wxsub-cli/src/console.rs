//! Messages to the user and logs on standard error. A server writes its lines in a separate thread, so that a slow reader cannot
//! block it. Write errors are ignored.

use std::fmt::Display;
use std::io::{self, Write, stderr};
use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use wxsub_proto::redact::sanitize_line;

/// Prints an error: what failed and what to do.
pub(crate) fn error(text: impl Display) {
    print(Level::Error, text);
}

/// Prints a warning. The command continues.
pub(crate) fn warning(text: impl Display) {
    print(Level::Warn, text);
}

/// Prints a line without a prefix.
pub(crate) fn note(text: impl Display) {
    print(Level::Info, text);
}

/// Prints a line about a running server, with time and level, as in its log.
pub(crate) fn log(level: Level, text: impl Display) {
    let is_json = IS_JSON.load(Ordering::Relaxed);
    let line = match is_json {
        true => line(level, &text.to_string(), is_json),
        false => format!("{} {:>5} {}\n", timestamp(), level.name(), sanitize_line(text.to_string().chars())),
    };
    let _ = StderrWriter.write_all(line.as_bytes());
}

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Sets the format of all lines, also that of panics: JSON objects as in the log, or text.
pub(crate) fn start_format(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
    if is_json {
        panic::set_hook(Box::new(|info| {
            error(info);
            // The process may end at once.
            flush();
        }));
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
        }
    }
}

/// A line in JSON, with the members of a line of the log.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    level: &'static str,
    fields: Fields<'a>,
    target: &'static str,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
}

fn print(level: Level, text: impl Display) {
    let line = line(level, &text.to_string(), IS_JSON.load(Ordering::Relaxed));
    let _ = StderrWriter.write_all(line.as_bytes());
}

/// Makes one line, with its line feed.
fn line(level: Level, text: &str, is_json: bool) -> String {
    let text = sanitize_line(text.chars());
    let prefix = match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
    };
    if !is_json {
        return format!("{prefix}{text}\n");
    }
    let fields = Fields { message: text.trim() };
    let line = JsonLine { timestamp: timestamp(), level: level.name(), fields, target: "wxsub" };
    // An object of texts is always valid JSON.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

/// The time now, as in the log.
fn timestamp() -> String {
    let mut timestamp = String::new();
    // Writing into a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    timestamp
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[test]
    fn line_has_the_members_of_the_log() {
        assert_eq!(line(Level::Warn, "a\nb", false), "warning: a b\n");
        let json = line(Level::Warn, "a\n\"b\"\n", true);
        assert!(json.ends_with("}\n") && json.matches('\n').count() == 1, "{json}");
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["level"], &value["target"]), (&"WARN".into(), &"wxsub".into()));
        assert_eq!(value["fields"]["message"], "a \"b\"");
        assert!(value["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    /// The hook prints a panic by this function.
    #[test]
    fn panic_is_one_line() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (seen, before) = (Arc::clone(&lines), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            seen.lock().unwrap().push(line(Level::Error, &info.to_string(), true));
        }));
        panic::catch_unwind(|| panic!("first\nsecond")).unwrap_err();
        panic::set_hook(before);
        let lines = lines.lock().unwrap();
        let line = lines.iter().find(|line| line.contains("first second")).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let value: Value = serde_json::from_str(line).unwrap();
        assert!(value["fields"]["message"].as_str().unwrap().starts_with("panicked at "), "{line}");
    }
}
