//! The file of one record.

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

/// Maximum number of bytes read from a file. Records are shorter.
const MAX_FILE_BYTES: u64 = 65_536;

/// The version of the file format. Other versions cannot be read.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<StateFileToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_doubt_since_ms: Option<u64>,
    forced_at_ms: Vec<u64>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StateFileToken {
    access_token: String,
    generation: u64,
    requested_at_ms: u64,
    lifetime_ms: u64,
}

/// The path of an app's file.
pub(super) fn path(folder: &Path, app: &AppId) -> PathBuf {
    folder.join(format!("{app}.json"))
}

/// The app of a file, if its name is that of a record.
pub(super) fn app_of(path: &Path) -> Option<AppId> {
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    path.file_stem()?.to_str().filter(|_| is_json)?.parse().ok()
}

/// Reads a record. An error contains the position of the fault, but nothing of the content.
pub(super) fn read(path: &Path) -> io::Result<TokenRecord> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let state_file: StateFile = serde_json::from_slice(&text).map_err(|error| {
        invalid(&format!("it is no record: invalid at line {} column {}", error.line(), error.column()))
    })?;
    if state_file.version != VERSION {
        return Err(invalid(&format!(
            "it has version {}, and this version of wxsub knows version {VERSION}",
            state_file.version
        )));
    }
    let mut record = TokenRecord::default();
    if let Some(token) = &state_file.token {
        let text = AccessToken::new(token.access_token.as_str())
            .map_err(|_| invalid("its access_token is invalid"))?;
        let (generation, requested_at) =
            (Generation::new(token.generation), UnixMillis::new(token.requested_at_ms));
        record.token =
            Some(StoredToken::new(text, generation, requested_at, Duration::from_millis(token.lifetime_ms)));
    }
    record.in_doubt_since = state_file.in_doubt_since_ms.map(UnixMillis::new);
    record.forced = ForceRefreshLog::new(state_file.forced_at_ms.into_iter().map(UnixMillis::new).collect());
    Ok(record)
}

/// Writes a record to a new file, syncs it, and renames it over the old one.
pub(super) fn write(path: &Path, record: &TokenRecord) -> io::Result<()> {
    let token = record.token.as_ref().map(|stored| StateFileToken {
        access_token: stored.token.expose_secret().to_owned(),
        generation: stored.generation.get(),
        requested_at_ms: stored.requested_at.get(),
        lifetime_ms: u64::try_from(stored.lifetime.as_millis()).unwrap_or(u64::MAX),
    });
    let state_file = StateFile {
        version: VERSION,
        token,
        in_doubt_since_ms: record.in_doubt_since.map(UnixMillis::get),
        forced_at_ms: record.forced.used().iter().map(|used| used.get()).collect(),
    };
    let text = Zeroizing::new(serde_json::to_vec(&state_file)?);
    let new_path = path.with_extension("new");
    let mut file = owner_only(OpenOptions::new().create(true).write(true).truncate(true)).open(&new_path)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new_path, path)?;
    // The rename is durable only after the folder is synced.
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
