//! One record in one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wxsub_core::clock::UnixMillis;
use wxsub_core::store::{StoredToken, TokenRecord};
use wxsub_core::token::{ForceRefreshLog, Generation};
use wxsub_proto::{AccessToken, AppId};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::audit::owner_only;

/// The most that is read of a file, in bytes. No record is that long.
const MOST: u64 = 65_536;

/// The form of the file; another is not understood.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<WrittenToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_doubt_since_ms: Option<u64>,
    forced_at_ms: Vec<u64>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    access_token: String,
    generation: u64,
    requested_at_ms: u64,
    lifetime_ms: u64,
}

/// Where the record of an app is.
pub(super) fn path(folder: &Path, app: &AppId) -> PathBuf {
    folder.join(format!("{app}.json"))
}

/// Whose record this is, if it is one.
pub(super) fn app(path: &Path) -> Option<AppId> {
    let json = path.extension().is_some_and(|extension| extension == "json");
    path.file_stem()?.to_str().filter(|_| json)?.parse().ok()
}

/// Reads a record. Errors say where it stopped making sense, and nothing of what it says.
pub(super) fn read(path: &Path) -> io::Result<TokenRecord> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    File::open(path)?.take(MOST).read_to_end(&mut text)?;
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let written: Written = serde_json::from_slice(&text).map_err(|error| {
        odd(&format!("not a record, from line {} column {}", error.line(), error.column()))
    })?;
    if written.version != VERSION {
        return Err(odd("of another version"));
    }
    let mut record = TokenRecord::default();
    if let Some(token) = &written.token {
        let text =
            AccessToken::new(token.access_token.as_str()).map_err(|_| odd("its token cannot be one"))?;
        let (generation, asked) = (Generation::new(token.generation), UnixMillis::new(token.requested_at_ms));
        record.token =
            Some(StoredToken::new(text, generation, asked, Duration::from_millis(token.lifetime_ms)));
    }
    record.in_doubt_since = written.in_doubt_since_ms.map(UnixMillis::new);
    record.forced = ForceRefreshLog::new(written.forced_at_ms.into_iter().map(UnixMillis::new).collect());
    Ok(record)
}

/// Writes a record beside the old one, and puts it in its place once it is on the disk.
pub(super) fn write(path: &Path, record: &TokenRecord) -> io::Result<()> {
    let token = record.token.as_ref().map(|stored| WrittenToken {
        access_token: stored.token.expose_secret().to_owned(),
        generation: stored.generation.get(),
        requested_at_ms: stored.requested_at.get(),
        lifetime_ms: u64::try_from(stored.lifetime.as_millis()).unwrap_or(u64::MAX),
    });
    let written = Written {
        version: VERSION,
        token,
        in_doubt_since_ms: record.in_doubt_since.map(UnixMillis::get),
        forced_at_ms: record.forced.used().iter().map(|used| used.get()).collect(),
    };
    let text = Zeroizing::new(serde_json::to_vec(&written)?);
    let beside = path.with_extension("new");
    let mut file = owner_only(OpenOptions::new().create(true).write(true).truncate(true)).open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The new name is on the disk when its folder is.
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
