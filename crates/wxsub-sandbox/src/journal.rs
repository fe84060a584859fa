//! The journal: a line for each request to Weixin, durable before the request takes effect.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use wxsub_proto::{AppId, ErrCode};

use crate::event_log::Trace;
use crate::request::Request;

/// Appends one line and returns when it is durable.
type Append = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// An append-only file with one [`JournalRecord`] a line, as JSON. Tests compare it with what a client believes.
///
/// Each line is written and synced before its request takes effect, so it survives a crash of the sandbox. If a write
/// fails, the request has no effect and gets status 500, and so does every later one.
// `None` after a failed sync: the system may report later syncs as successful although lines are lost.
#[derive(derive_more::Debug)]
#[debug("Journal")]
pub struct Journal(Option<Append>);

impl Journal {
    /// Opens or creates the file. Only its owner may read and write it.
    ///
    /// An incomplete last line, which a crash has left, stays in the file.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        end_last_line(&mut file)?;
        file.sync_all()?;
        // The name of a new file is durable when its folder is.
        #[cfg(unix)]
        if let Some(folder) = std::path::absolute(path)?.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self::with_writer(move |line| {
            file.write_all(line)?;
            file.sync_all()
        }))
    }

    /// A journal that passes each line, with its line feed, to `append`. It must return when the line is durable.
    ///
    /// The sandbox is locked meanwhile: `append` must not call it.
    pub fn with_writer(append: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> Self {
        Self(Some(Box::new(append)))
    }

    /// Writes one record.
    pub(crate) fn write(&mut self, record: &JournalRecord) -> io::Result<()> {
        let Some(mut append) = self.0.take() else {
            return Err(io::Error::other("an earlier write failed"));
        };
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        append(&line)?;
        self.0 = Some(append);
        Ok(())
    }
}

/// Ends a last line without line feed, so that the next record begins a line.
fn end_last_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// One request that reached the sandbox. It contains no secret, no token and no text of a message.
///
/// Members without a value are absent from the JSON.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalRecord {
    /// The time in milliseconds since the Unix epoch, by the sandbox's clock.
    pub at_ms: u64,
    /// `send`, `token`, `stable_token`, `quota`, `domain_ip`, `consent`, or `unknown`.
    pub operation: String,
    /// The app, if one was identified.
    pub appid: Option<AppId>,
    /// The sequence number of the token that was issued or used.
    pub token: Option<u64>,
    /// What identifies the message of a send.
    #[serde(flatten)]
    pub message: Option<JournaledMessage>,
    /// Whether Weixin accepts the request: it takes effect, and the response is a success.
    ///
    /// If the sandbox crashes at once, no response is sent.
    pub accepted: bool,
    /// The error code of the response, even if a fault loses it.
    pub errcode: Option<ErrCode>,
    /// The name of the fault that the request met.
    pub fault: Option<String>,
}

/// The message of a send, as it was posted.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournaledMessage {
    /// The openid of the user.
    pub touser: Option<String>,
    /// The template.
    pub template_id: Option<String>,
    /// The scene, as text.
    pub scene: Option<String>,
    /// The SHA-256 digest of the request body, in hex.
    pub body_sha256: String,
}

impl JournalRecord {
    /// The records in a journal, oldest first.
    ///
    /// Skips incomplete lines, which a crash has left. Their requests had no effect.
    pub fn parse(journal: &[u8]) -> impl Iterator<Item = Self> {
        journal.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
    }

    pub(crate) fn new(request: &Request<'_>, operation: &str, trace: &Trace, accepted: bool) -> Self {
        Self {
            at_ms: request.now.as_millis().try_into().unwrap_or(u64::MAX),
            operation: operation.to_owned(),
            appid: trace.appid.clone(),
            token: trace.token,
            message: (operation == "send").then(|| JournaledMessage::new(request.body.unwrap_or_default())),
            accepted,
            errcode: trace.errcode,
            fault: trace.fault.map(str::to_owned),
        }
    }
}

impl JournaledMessage {
    fn new(body: &[u8]) -> Self {
        let members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let text = |name| match members.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let digest = Sha256::digest(body);
        let body_sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { touser: text("touser"), template_id: text("template_id"), scene: text("scene"), body_sha256 }
    }
}
