use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use futures_util::FutureExt;
use tempfile::{NamedTempFile, TempPath};
use wxsub_core::clock::SystemClock;
use wxsub_core::testing::ManualClock;

use super::target::Output;
use super::*;

/// A disk with a limit. It is shared with the test.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    content: Vec<u8>,
    /// Bytes until the disk is full.
    free: Option<usize>,
    sync_fails: bool,
    syncs: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let state = &mut *self.0.lock().unwrap();
        let length = state.free.map_or(bytes.len(), |free| free.min(bytes.len()));
        if length == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.free = state.free.map(|free| free - length);
        state.content.extend(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Disk {
    fn sync(&mut self) -> io::Result<()> {
        let state = &mut *self.0.lock().unwrap();
        state.syncs += 1;
        if state.sync_fails { Err(io::Error::other("lost")) } else { Ok(()) }
    }
}

impl Disk {
    fn set_free(&self, free: Option<usize>) {
        self.0.lock().unwrap().free = free;
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().content.clone())
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn audit(&self, is_required: bool) -> (Audit, Counter) {
        start(Box::new(self.clone()), is_required, Arc::new(SystemClock::new()))
    }
}

fn start(out: Box<dyn Output>, is_required: bool, clock: Arc<dyn Clock>) -> (Audit, Counter) {
    let failures = Counter::default();
    let target = Target::fake(out, is_required);
    (Audit::start_on(target, is_required, clock, failures.clone()).unwrap(), failures)
}

fn to_file(path: &Path) -> (Audit, Counter) {
    let (config, failures) =
        (AuditConfig { to: AuditTo::File(path.to_path_buf()), is_required: false }, Counter::default());
    (Audit::start(&config, Arc::new(SystemClock::new()), failures.clone()).unwrap(), failures)
}

/// Records a read with this outcome.
async fn record(audit: &Audit, outcome: &'static str) -> Result<(), Unrecorded> {
    let mut line = audit.begin(ApiSurface::V1, Action::Read, None);
    line.change(|entry| entry.outcome = outcome);
    line.record().await
}

fn temporary() -> TempPath {
    NamedTempFile::new().unwrap().into_temp_path()
}

/// A required audit that can record nothing.
pub(crate) fn on_full_disk(clock: &Arc<dyn Clock>) -> Audit {
    let disk = Disk::default();
    disk.set_free(Some(0));
    start(Box::new(disk), true, Arc::clone(clock)).0
}

#[tokio::test]
async fn line_is_in_the_file_before_the_response() {
    let path = temporary();
    let clock = Arc::new(ManualClock::new());
    let config = AuditConfig { to: AuditTo::File(path.to_path_buf()), is_required: false };
    let audit = Audit::start(&config, clock.clone(), Counter::default()).unwrap();
    for count in 1..=3 {
        record(&audit, "ok").await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), count);
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let at = rfc3339::format(clock.now().wall);
    let expected = format!(r#"{{"at":"{at}","api":"v1","action":"read","outcome":"ok"}}"#);
    assert_eq!(text.lines().next(), Some(expected.as_str()));
    Audit(None).flush();
    assert!(Audit(None).begin(ApiSurface::V1, Action::Read, None).entry().is_none());
}

#[tokio::test]
async fn line_after_a_full_disk_is_fresh_and_lost_lines_are_counted() {
    let disk = Disk::default();
    let (audit, failures) = disk.audit(false);
    record(&audit, "first").await.unwrap();
    disk.set_free(Some(10));
    for lost in 1..=3 {
        record(&audit, "lost").await.unwrap();
        assert_eq!(failures.get(), lost);
    }
    disk.set_free(None);
    record(&audit, "second").await.unwrap();
    let lines = disk.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].contains("first") && lines[1].len() == 10 && lines[2].starts_with("{\"at\""),
        "{lines:?}"
    );
    assert_eq!(failures.get(), 3);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn lines_to_dev_full_are_counted() {
    let (audit, failures) = to_file(Path::new("/dev/full"));
    record(&audit, "ok").await.unwrap();
    assert_eq!(failures.get(), 1);
    let required = AuditConfig { to: AuditTo::File("/dev/full".into()), is_required: true };
    assert!(Audit::check(&required).unwrap_err().to_string().contains("not a regular file"));
}

#[tokio::test]
async fn required_audit_refuses_what_is_not_on_the_disk() {
    let disk = Disk::default();
    let (audit, failures) = disk.audit(true);
    assert_eq!(record(&audit, "ok").await, Ok(()));
    disk.set_free(Some(10));
    assert_eq!(record(&audit, "ok").await, Err(Unrecorded));
    disk.set_free(None);
    disk.0.lock().unwrap().sync_fails = true;
    assert_eq!(record(&audit, "ok").await, Err(Unrecorded));
    disk.0.lock().unwrap().sync_fails = false;
    assert_eq!(record(&audit, "ok").await, Ok(()));
    assert_eq!(failures.get(), 2);
}

#[tokio::test]
async fn last_line_of_a_killed_server_is_completed() {
    let path = temporary();
    std::fs::write(&path, "{\"at\":\"20").unwrap();
    record(&to_file(&path).0, "ok").await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"at\":\"20\n{\"at\"") && text.lines().count() == 2, "{text}");
}

#[tokio::test]
async fn reopened_audit_leaves_the_renamed_file() {
    let (path, renamed) = (temporary(), temporary());
    let (audit, failures) = to_file(&path);
    record(&audit, "before").await.unwrap();
    std::fs::rename(&path, &renamed).unwrap();
    record(&audit, "between").await.unwrap();
    audit.reopen();
    record(&audit, "after").await.unwrap();
    let count = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((count(&renamed), count(&path), failures.get()), (2, 1, 0));
}

#[test]
fn check_removes_the_file_that_it_created() {
    let path = temporary();
    std::fs::remove_file(&path).unwrap();
    let config = AuditConfig { to: AuditTo::File(path.to_path_buf()), is_required: true };
    Audit::check(&config).unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "kept").unwrap();
    Audit::check(&config).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
}

/// A link to a file that does not exist yet, as on a new volume.
#[cfg(unix)]
#[test]
fn check_keeps_a_link_and_removes_the_file_that_it_created() {
    let folder = tempfile::tempdir().unwrap();
    let [link, file] = ["link", "file"].map(|name| folder.path().join(name));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    Audit::check(&AuditConfig { to: AuditTo::File(link.clone()), is_required: true }).unwrap();
    assert!(link.is_symlink() && !file.exists());
}

/// Requests without a known key that end early fill no disk.
#[tokio::test]
async fn dropped_line_is_written_if_its_caller_is_known() {
    let disk = Disk::default();
    let (audit, _) = disk.audit(false);
    let [mut known, unknown] = [(); 2].map(|()| audit.begin(ApiSurface::V1, Action::Read, None));
    known.change(|entry| entry.generation = Some(7));
    drop((known, unknown));
    record(&audit, "ok").await.unwrap();
    let lines = disk.lines();
    assert!(lines.len() == 2 && lines[0].contains(r#""outcome":"unfinished","generation":7"#), "{lines:?}");
}

#[tokio::test]
async fn callers_without_a_key_get_few_lines_and_a_summary() {
    let disk = Disk::default();
    let (audit, _) = disk.audit(false);
    for _ in 0..5000 {
        record(&audit, "denied").await.unwrap();
    }
    record(&audit, "ok").await.unwrap();
    audit.flush();
    let lines = disk.lines();
    assert_eq!(lines.len(), 22, "{lines:?}");
    assert!(lines[21].ends_with(r#""outcome":"denied","left_out":4980}"#), "{lines:?}");
}

/// A disk that writes one line for each permit.
struct SlowDisk {
    disk: Disk,
    permits: Receiver<()>,
}

impl SlowDisk {
    fn new(disk: &Disk) -> (Sender<()>, Self) {
        let (sender, permits) = channel();
        (sender, Self { disk: disk.clone(), permits })
    }
}

impl Write for SlowDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.permits.recv().map_err(io::Error::other)?;
        self.disk.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for SlowDisk {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync()
    }
}

#[tokio::test]
async fn lines_that_wait_for_a_write_share_the_next_one() {
    for is_required in [false, true] {
        let disk = Disk::default();
        let (permit, slow) = SlowDisk::new(&disk);
        let (audit, failures) = start(Box::new(slow), is_required, Arc::new(ManualClock::new()));
        let all = futures_util::future::join_all((0..100).map(|_| record(&audit, "ok")));
        let mut all = std::pin::pin!(all);
        // All lines are queued now. The thread has taken some of them.
        assert!(all.as_mut().now_or_never().is_none());
        // Two writes, and no third.
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        drop(permit);
        assert!(all.await.iter().all(Result::is_ok));
        assert_eq!((disk.lines().len(), failures.get()), (100, 0));
        assert!(disk.0.lock().unwrap().syncs <= if is_required { 2 } else { 0 });
    }
}

#[tokio::test]
async fn file_is_opened_anew_also_if_the_queue_was_full() {
    let (path, disk) = (temporary(), Disk::default());
    let (permit, slow) = SlowDisk::new(&disk);
    let mut target = Target::fake(Box::new(slow), false);
    target.path = Some(path.to_path_buf());
    let failures = Counter::default();
    let audit = Audit::start_on(target, false, Arc::new(ManualClock::new()), failures.clone()).unwrap();
    // The thread has taken what it writes first, and the queue is full.
    while failures.get() < 10 * QUEUE_CAPACITY as u64 {
        let _ = record(&audit, "ok").now_or_never();
    }
    audit.reopen();
    for _ in 0..100 {
        // The disk is closed as soon as the file is open.
        let _ = permit.send(());
    }
    audit.flush();
    record(&audit, "after").await.unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("after"));
}

#[tokio::test]
async fn stalled_audit_delays_one_request_and_refuses_if_required() {
    for is_required in [false, true] {
        let (disk, clock) = (Disk::default(), Arc::new(ManualClock::new()));
        let (permit, slow) = SlowDisk::new(&disk);
        let (audit, _) = start(Box::new(slow), is_required, clock.clone());
        let expected = if is_required { Err(Unrecorded) } else { Ok(()) };
        let mut first = std::pin::pin!(record(&audit, "ok"));
        assert!(first.as_mut().now_or_never().is_none());
        clock.advance_and_run(RECORD_TIMEOUT).await;
        assert_eq!(first.await, expected);
        // The others do not wait.
        assert_eq!(record(&audit, "ok").now_or_never(), Some(expected));
        for _ in 0..2 {
            permit.send(()).unwrap();
        }
        audit.flush();
        // The thread has caught up.
        permit.send(()).unwrap();
        assert_eq!(record(&audit, "ok").await, Ok(()));
    }
}
