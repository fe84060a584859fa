//! One line for every token read, report and send: who, which app, what became of it. Lines are written by a thread of
//! their own; whoever has something to tell never waits for it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::iter;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::config::AuditTo;

/// How many lines can wait to be written; those beyond are counted and lost.
const QUEUE: usize = 8192;

/// How long lines gather once there is one. To wake the thread for each would cost more than all the rest of a read.
const BATCH_WINDOW: Duration = Duration::from_millis(20);

/// One line. There is no secret in it, and no openid.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) api: ApiSurface,
    pub(crate) action: Action,
    /// The client's name; absent where its key is unknown, or a token took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) appid: Option<String>,
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errcode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rid: Option<String>,
}

/// Which of the two APIs a request came through.
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

/// What somebody wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Read,
    Report,
    Send,
    /// To see the apps.
    List,
}

enum AuditMessage {
    Line(Box<Entry>),
    /// Everything before this is to be written before an answer is given.
    Flush(SyncSender<()>),
}

/// Where lines are handed over.
#[derive(Debug, Clone)]
pub(crate) struct Audit(Option<SyncSender<AuditMessage>>);

impl std::fmt::Debug for AuditMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Audit {
    /// Nothing is written.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Starts writing.
    pub(crate) fn start(to: &AuditTo) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match to {
            AuditTo::Off => return Ok(Self::off()),
            AuditTo::Stderr => Box::new(io::stderr()),
            AuditTo::File(path) => {
                Box::new(owner_only(OpenOptions::new().create(true).append(true)).open(path)?)
            }
        };
        let (lines, written) = sync_channel(QUEUE);
        thread::Builder::new().name("audit".to_owned()).spawn(move || write(&written, out))?;
        Ok(Self(Some(lines)))
    }

    /// Hands a line over, if lines are written at all; `false` if it was lost.
    pub(crate) fn record(&self, entry: impl FnOnce() -> Entry) -> bool {
        self.0.as_ref().is_none_or(|lines| lines.try_send(AuditMessage::Line(Box::new(entry()))).is_ok())
    }

    /// Returns once everything handed over before is written. It blocks.
    pub(crate) fn flush(&self) {
        let Some(lines) = &self.0 else { return };
        let (done, wait) = sync_channel(1);
        if lines.send(AuditMessage::Flush(done)).is_ok() {
            // A thread that is gone has nothing left to write.
            let _ = wait.recv();
        }
    }
}

#[cfg(unix)]
pub(crate) fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

#[cfg(not(unix))]
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Writes in one piece what has come within a moment.
fn write(lines: &Receiver<AuditMessage>, mut out: Box<dyn Write + Send>) {
    let mut text = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut waiting = Vec::new();
        thread::park_timeout(BATCH_WINDOW);
        for told in iter::once(first).chain(lines.try_iter()).take(QUEUE) {
            match told {
                AuditMessage::Line(entry) => {
                    if serde_json::to_writer(&mut text, &entry).is_ok() {
                        text.push(b'\n');
                    }
                }
                AuditMessage::Flush(done) => waiting.push(done),
            }
        }
        // Lines that cannot be written must not end those that follow.
        let _ = out.write_all(&text).and_then(|()| out.flush());
        text.clear();
        for done in waiting {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_in_order_and_without_empty_members() {
        let path = std::env::temp_dir().join(format!("wxsub-audit-{}", std::process::id()));
        let audit = Audit::start(&AuditTo::File(path.clone())).unwrap();
        for at in 1..=3 {
            let (api, action, outcome) = (ApiSurface::V1, Action::Read, "ok");
            let (client, address, appid, generation, errcode, rid) = Default::default();
            assert!(audit.record(|| Entry {
                at,
                api,
                action,
                client,
                address,
                appid,
                outcome,
                generation,
                errcode,
                rid
            }));
        }
        audit.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().next(), Some(r#"{"at":1,"api":"v1","action":"read","outcome":"ok"}"#));
        assert_eq!(text.lines().count(), 3);
        std::fs::remove_file(path).unwrap();
        Audit::off().flush();
    }
}
