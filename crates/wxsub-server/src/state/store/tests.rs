use std::sync::atomic::{AtomicU32, Ordering};

use wxsub_core::clock::SystemClock;
use wxsub_core::testing::store_conformance;
use wxsub_proto::AccessToken;

use super::*;

/// A temporary folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wxsub-state-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    async fn open(&self) -> Result<FileStore, StateError> {
        FileStore::open(&self.0, Arc::new(SystemClock::new())).await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn app() -> AppId {
    "wx1".parse().unwrap()
}

fn token(text: &str, generation: u64) -> StoredToken {
    let (token, generation) = (AccessToken::new(text).unwrap(), Generation::new(generation));
    StoredToken::new(token, generation, UnixMillis::new(1_000), Duration::from_secs(7200))
}

#[test]
fn file_store_passes_the_conformance_tests() {
    let folders: Vec<_> = (0..16).map(|_| Folder::new()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let opened: Vec<_> = folders.iter().map(|folder| runtime.block_on(folder.open()).unwrap()).collect();
    let stores = Mutex::new(opened.into_iter().map(Arc::new).collect::<Vec<_>>());
    runtime.block_on(store_conformance::run(|| stores.lock().unwrap().pop().unwrap()));
}

#[tokio::test]
async fn record_survives_a_restart() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    assert!(matches!(
        store.compare_and_set(&app(), Generation::default(), token("A", 5)).await,
        Ok(CasOutcome::Stored)
    ));
    store.set_in_doubt(&app(), UnixMillis::new(7)).await.unwrap();
    assert!(store.try_acquire_force_refresh(&app(), UnixMillis::new(1_000_000_000)).await.unwrap());
    drop(store);
    let store = folder.open().await.unwrap();
    let record = store.load(&app()).await.unwrap();
    let stored = record.token.as_ref().unwrap();
    assert_eq!((stored.token.expose_secret(), stored.generation.get()), ("A", 5));
    assert_eq!((stored.requested_at.get(), stored.lifetime.as_secs()), (1_000, 7200));
    assert_eq!((record.in_doubt_since, record.forced.used().len()), (Some(UnixMillis::new(7)), 1));
    assert!(!store.try_acquire_force_refresh(&app(), UnixMillis::new(1_000_000_001)).await.unwrap());
}

#[tokio::test]
async fn second_server_gets_in_use_error() {
    let folder = Folder::new();
    let first = folder.open().await.unwrap();
    assert!(matches!(folder.open().await, Err(StateError::InUse)));
    drop(first);
    assert!(folder.open().await.is_ok());
}

#[tokio::test]
async fn unreadable_file_is_renamed_and_other_apps_keep_their_tokens() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
    drop(store);
    let good = fs::read_to_string(folder.0.join("wx1.json")).unwrap();
    let bad = [
        "",
        "{",
        "\u{0}",
        &good.replace("\"version\":1", "\"version\":2"),
        &good.replace("\"A\"", "\"A B\""),
        &"[".repeat(100_000),
    ];
    for (index, text) in bad.iter().enumerate() {
        fs::write(folder.0.join(format!("bad{index}.json")), text).unwrap();
    }
    fs::write(folder.0.join("wx7.new"), "half").unwrap();
    let store = folder.open().await.unwrap();
    assert_eq!(store.corrupt_apps().len(), bad.len());
    assert!(folder.0.join("bad0.broken").exists() && !folder.0.join("bad0.json").exists());
    assert!(store.load(&app()).await.unwrap().token.is_some());
    let other: AppId = "bad0".parse().unwrap();
    assert!(store.load(&other).await.unwrap().token.is_none());
    assert!(matches!(
        store.compare_and_set(&other, Generation::default(), token("B", 1)).await,
        Ok(CasOutcome::Stored)
    ));
}

/// A wrong clock or an editor can write such values.
#[tokio::test]
async fn record_with_maximum_values_is_accepted_or_ignored() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
    drop(store);
    let path = folder.0.join("wx1.json");
    let good = fs::read_to_string(&path).unwrap();
    let max = u64::MAX.to_string();
    let now = SystemClock::new().now();
    for (from, usable) in
        [("\"generation\":5", false), ("\"requested_at_ms\":1000", true), ("\"lifetime_ms\":7200000", false)]
    {
        let (name, _) = from.split_once(':').unwrap();
        fs::write(&path, good.replace(from, &format!("{name}:{max}"))).unwrap();
        let store = folder.open().await.unwrap();
        assert!(store.corrupt_apps().is_empty());
        let record = store.load(&app()).await.unwrap();
        let cached = record.token.as_ref().map(|stored| stored.to_cached(now));
        assert_eq!(cached.as_ref().is_some_and(|cached| cached.is_valid(now)), usable, "{from}");
        assert!(cached.is_none_or(|cached| cached.remaining(now).as_secs() <= 7200));
        let next = token("B", record.generation().next(now.wall).get());
        assert!(matches!(
            store.compare_and_set(&app(), record.generation(), next).await,
            Ok(CasOutcome::Stored)
        ));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn folder_and_files_are_readable_by_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let store = folder.open().await.unwrap();
    store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    assert_eq!((mode(&folder.0.join("wx1.json")), mode(&folder.0.join("lock"))), (0o600, 0o600));
}

/// A token that cannot be written can still be used.
#[tokio::test]
async fn failed_write_is_an_error_and_the_token_stays_in_memory() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    fs::create_dir(folder.0.join("wx1.json")).unwrap();
    fs::write(folder.0.join("wx1.json/blocker"), "").unwrap();
    assert!(store.compare_and_set(&app(), Generation::default(), token("PLANTED", 5)).await.is_err());
    assert_eq!(store.load(&app()).await.unwrap().generation().get(), 5);
}
