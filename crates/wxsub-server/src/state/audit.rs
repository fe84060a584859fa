//! The audit log: one line for every token read, report and send, with client, app and outcome.
//!
//! A thread of its own writes the lines. Requests never wait for it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::iter;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::{Serialize, Serializer};
use wxsub_proto::{AppId, ErrCode, TraceId};

use crate::config::{ApiClient, AuditTo, owner_only};

/// Maximum number of queued lines. Lines beyond it are dropped and counted.
const QUEUE_CAPACITY: usize = 8192;

/// How long the thread collects lines before it writes them. Waking it for each line would cost more than a token read.
const BATCH_WINDOW: Duration = Duration::from_millis(20);

/// One audit line. It contains no secret and no openid.
///
/// It begins as a denied request, and is completed while the request is handled.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// When the line was queued, in milliseconds since 1970.
    at: u64,
    api: ApiSurface,
    pub(crate) action: Action,
    /// The client, by its name. Absent if the key is unknown, or an access token authorized the request.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "client_name")]
    pub(crate) client: Option<Arc<ApiClient>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) appid: Option<AppId>,
    pub(crate) outcome: &'static str,
    /// Why the client was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errcode: Option<ErrCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rid: Option<TraceId>,
}

fn client_name<S: Serializer>(client: &Option<Arc<ApiClient>>, serializer: S) -> Result<S::Ok, S::Error> {
    client.as_ref().map(|client| &client.name).serialize(serializer)
}

/// The API of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApiSurface {
    V1,
    Weixin,
}

impl ApiSurface {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Weixin => "weixin",
        }
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Read,
    Report,
    Send,
    /// Lists the apps.
    List,
}

enum AuditMessage {
    Line(Box<Entry>),
    /// Replies once all lines before it are written.
    Flush(SyncSender<()>),
}

/// The handle to the audit thread.
#[derive(Debug, Clone)]
pub(crate) struct Audit(Option<SyncSender<AuditMessage>>);

impl std::fmt::Debug for AuditMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditMessage")
    }
}

impl Audit {
    /// An audit that writes no lines.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// An audit that queues this many lines and writes none, while the second value is held.
    #[cfg(test)]
    pub(crate) fn stalled(capacity: usize) -> (Self, impl Sized) {
        let (lines, receiver) = sync_channel(capacity);
        (Self(Some(lines)), receiver)
    }

    /// Opens the target and starts the thread.
    pub(crate) fn start(to: &AuditTo) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match to {
            AuditTo::Off => return Ok(Self::off()),
            AuditTo::Stderr => Box::new(io::stderr()),
            AuditTo::File(path) => {
                Box::new(owner_only(OpenOptions::new().create(true).append(true)).open(path)?)
            }
        };
        let (lines, receiver) = sync_channel(QUEUE_CAPACITY);
        thread::Builder::new().name("audit".to_owned()).spawn(move || write(&receiver, out))?;
        Ok(Self(Some(lines)))
    }

    /// Begins the line of a request. `None` if the audit is off.
    pub(crate) fn begin(
        &self,
        api: ApiSurface,
        action: Action,
        address: Option<IpAddr>,
    ) -> Option<Box<Entry>> {
        self.0.as_ref()?;
        let (at, outcome) = (0, "denied");
        let (client, appid, reason, generation, errcode, rid) = Default::default();
        Some(Box::new(Entry {
            at,
            api,
            action,
            client,
            address,
            appid,
            outcome,
            reason,
            generation,
            errcode,
            rid,
        }))
    }

    /// Queues a line with this time, in milliseconds since 1970. Returns `false` if the line was dropped.
    pub(crate) fn record(&self, mut entry: Box<Entry>, at: u64) -> bool {
        entry.at = at;
        self.0.as_ref().is_none_or(|lines| lines.try_send(AuditMessage::Line(entry)).is_ok())
    }

    /// Blocks until all lines queued before are written.
    pub(crate) fn flush(&self) {
        let Some(lines) = &self.0 else { return };
        let (done, wait) = sync_channel(1);
        if lines.send(AuditMessage::Flush(done)).is_ok() {
            // An error means that the thread is gone; then there is nothing left to write.
            let _ = wait.recv();
        }
    }
}

/// Writes queued lines in batches.
fn write(lines: &Receiver<AuditMessage>, mut out: Box<dyn Write + Send>) {
    let mut text = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut flushes = Vec::new();
        thread::park_timeout(BATCH_WINDOW);
        for message in iter::once(first).chain(lines.try_iter()).take(QUEUE_CAPACITY) {
            match message {
                AuditMessage::Line(entry) => {
                    if serde_json::to_writer(&mut text, &entry).is_ok() {
                        text.push(b'\n');
                    }
                }
                AuditMessage::Flush(done) => flushes.push(done),
            }
        }
        // A write error drops this batch only.
        let _ = out.write_all(&text).and_then(|()| out.flush());
        text.clear();
        for done in flushes {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order_without_empty_members() {
        let path = std::env::temp_dir().join(format!("wxsub-audit-{}", std::process::id()));
        let audit = Audit::start(&AuditTo::File(path.clone())).unwrap();
        for at in 1..=3 {
            let mut entry = audit.begin(ApiSurface::V1, Action::Read, None).unwrap();
            entry.outcome = "ok";
            assert!(audit.record(entry, at));
        }
        audit.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().next(), Some(r#"{"at":1,"api":"v1","action":"read","outcome":"ok"}"#));
        assert_eq!(text.lines().count(), 3);
        std::fs::remove_file(path).unwrap();
        Audit::off().flush();
        assert!(Audit::off().begin(ApiSurface::V1, Action::Read, None).is_none());
    }
}
