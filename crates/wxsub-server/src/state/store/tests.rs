use std::path::PathBuf;

use tempfile::TempDir;
use wxsub_core::clock::SystemClock;
use wxsub_core::testing::store_conformance;
use wxsub_proto::AccessToken;

use super::*;

/// The path of a folder that does not exist yet, in a temporary one.
struct Folder(PathBuf, #[expect(dead_code, reason = "removed on drop")] TempDir);

impl Folder {
    fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        Self(temporary.path().join("state"), temporary)
    }

    async fn open(&self) -> Result<FileStore, StateError> {
        FileStore::open(&self.0, Arc::new(SystemClock::new())).await
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

/// The runtime ends right after the stop, with all its tasks. Of several tokens, the newest is kept.
#[tokio::test]
async fn finished_fallbacks_survive_a_restart() {
    for texts in [["A"].as_slice(), &["A", "B", "C"]] {
        let folder = Folder::new();
        let fallback = FileFallback::new(folder.open().await.unwrap());
        (5..).zip(texts).for_each(|(generation, text)| fallback.save(&app(), token(text, generation)));
        fallback.finish().await;
        drop(fallback);
        let found = folder.open().await.unwrap().load(&app()).await.unwrap().token.unwrap();
        assert_eq!(Some(&found.token.expose_secret()), texts.last());
    }
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
        // The last line is whole, so the line before it is out of date.
        &(good.clone() + &good.replace("\"version\":1", "\"version\":2")),
        &(good.clone() + "\n{}"),
        &good.replace("\"A\"", "\"A B\""),
        &"[".repeat(10_000),
        &(good.clone() + &" ".repeat(100_000)),
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

/// A crash or a full disk ended a write. The change before it counts, and so does the one after it.
#[tokio::test]
async fn line_written_in_part_is_skipped() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let path = folder.0.join("wx1.json");
    store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
    let one = fs::read_to_string(&path).unwrap();
    store.compare_and_set(&app(), Generation::new(5), token("B", 6)).await.unwrap();
    drop(store);
    let two = fs::read_to_string(&path).unwrap();
    assert!(two.starts_with(&one) && two.len() > one.len());
    for length in one.len()..two.len() {
        fs::write(&path, &two[..length]).unwrap();
        let store = folder.open().await.unwrap();
        assert!(store.corrupt_apps().is_empty());
        assert_eq!(store.load(&app()).await.unwrap().generation().get(), 5);
        store.compare_and_set(&app(), Generation::new(5), token("C", 7)).await.unwrap();
        drop(store);
        let store = folder.open().await.unwrap();
        assert_eq!(store.load(&app()).await.unwrap().generation().get(), 7);
    }
}

#[tokio::test]
async fn file_does_not_grow_without_limit() {
    let folder = Folder::new();
    let store = folder.open().await.unwrap();
    let path = folder.0.join("wx1.json");
    let text = "A".repeat(AccessToken::MAX_LENGTH);
    let (mut longest, mut replaced) = (0, 0);
    for generation in 1..=50 {
        let before = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        store
            .compare_and_set(&app(), Generation::new(generation - 1), token(&text, generation))
            .await
            .unwrap();
        let after = fs::metadata(&path).unwrap().len();
        (longest, replaced) = (after.max(longest), replaced + u32::from(after < before));
    }
    assert!(longest <= 16_384 && (2..25).contains(&replaced), "{longest} bytes, {replaced} times replaced");
    drop(store);
    assert_eq!(folder.open().await.unwrap().load(&app()).await.unwrap().generation().get(), 50);
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

/// The lock is that of the folder: deleting files in it frees nothing.
#[tokio::test]
async fn folder_stays_in_use_after_its_files_are_deleted() {
    let folder = Folder::new();
    let first = folder.open().await.unwrap();
    for path in fs::read_dir(&folder.0).unwrap() {
        fs::remove_file(path.unwrap().path()).unwrap();
    }
    assert!(matches!(folder.open().await, Err(StateError::InUse)));
    drop(first);
    assert!(folder.open().await.is_ok());
}

/// Something that cannot be replaced has the name to which a broken file would be renamed.
#[tokio::test]
async fn broken_file_in_the_way_stops_nothing() {
    let folder = Folder::new();
    fs::create_dir_all(folder.0.join("wx1.broken/full")).unwrap();
    fs::write(folder.0.join("wx1.json"), "{").unwrap();
    let store = folder.open().await.unwrap();
    assert!(store.corrupt_apps().contains(&app()));
    store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
    drop(store);
    assert_eq!(folder.open().await.unwrap().load(&app()).await.unwrap().generation().get(), 5);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn created_folder_and_files_are_for_the_owner_only() {
        let folder = Folder::new();
        let store = folder.open().await.unwrap();
        store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
        assert_eq!((mode(&folder.0), mode(&folder.0.join("wx1.json"))), (0o700, 0o600));
    }

    /// In a folder that others can write to, a file may be one that others can read.
    #[tokio::test]
    async fn file_with_other_rights_is_replaced() {
        let folder = Folder::new();
        let store = folder.open().await.unwrap();
        let path = folder.0.join("wx1.json");
        fs::write(&path, "planted").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let planted = fs::File::open(&path).unwrap();
        store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
        assert_eq!(io::read_to_string(planted).unwrap(), "planted");
        assert_eq!(mode(&path), 0o600);
        drop(store);
        assert_eq!(folder.open().await.unwrap().load(&app()).await.unwrap().generation().get(), 5);
    }

    /// Such as /tmp, and a volume with fsGroup of Kubernetes.
    #[tokio::test]
    async fn existing_folder_keeps_its_mode() {
        for expected in [0o755, 0o1777, 0o2775] {
            let folder = Folder::new();
            fs::create_dir_all(&folder.0).unwrap();
            fs::set_permissions(&folder.0, fs::Permissions::from_mode(expected)).unwrap();
            let store = folder.open().await.unwrap();
            store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
            assert_eq!(mode(&folder.0), expected);
        }
    }

    #[tokio::test]
    async fn links_are_not_followed() {
        let (folder, other) = (Folder::new(), Folder::new());
        fs::create_dir_all(&folder.0).unwrap();
        fs::create_dir_all(&other.0).unwrap();
        let victim = other.0.join("victim");
        fs::write(&victim, "precious").unwrap();
        for name in ["wx1.json", "wx1.new", "wx1.broken", "write-test", "lock"] {
            symlink(&victim, folder.0.join(name)).unwrap();
        }
        let store = folder.open().await.unwrap();
        store.compare_and_set(&app(), Generation::default(), token("A", 5)).await.unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(fs::symlink_metadata(folder.0.join("wx1.json")).unwrap().is_file());
        let link = other.0.join("link");
        symlink(&folder.0, &link).unwrap();
        for path in [link.clone(), PathBuf::from(format!("{}/", link.display()))] {
            let opened = FileStore::open(path, Arc::new(SystemClock::new())).await;
            assert!(matches!(opened, Err(StateError::Link)));
        }
    }

    /// Opening it to read or write would wait for another process.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn fifo_in_place_of_a_file_does_not_block() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = Folder::new();
        fs::create_dir_all(&folder.0).unwrap();
        for name in ["wx1.json", "wx2.new"] {
            // A process that makes them would hold the locks of other tests until it runs its program.
            mknodat(CWD, folder.0.join(name), FileType::Fifo, Mode::RWXU, 0).unwrap();
        }
        let store = folder.open().await.unwrap();
        assert!(store.corrupt_apps().contains(&app()));
        let other: AppId = "wx2".parse().unwrap();
        store.compare_and_set(&other, Generation::default(), token("A", 5)).await.unwrap();
    }
}

#[tokio::test]
async fn check_leaves_nothing_behind() {
    let folder = Folder::new();
    for path in [folder.0.clone(), folder.0.join("deep/er")] {
        FileStore::check(&path).unwrap();
        assert!(!folder.0.exists());
    }
    let _store = folder.open().await.unwrap();
    assert!(matches!(FileStore::check(&folder.0), Err(StateError::InUse)));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
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
