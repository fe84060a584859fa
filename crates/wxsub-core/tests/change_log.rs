//! The watcher of a change log, on a manual clock with a scripted log.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use wxsub_core::proto::AppId;
use wxsub_core::store::{ChangeLog, ChangeWatcher, LoggedChanges, StoreChange, StoreError, StoreErrorKind};
use wxsub_core::testing::ManualClock;

/// A log that the test writes. It counts its reads.
#[derive(Default)]
struct ScriptedLog {
    content: Mutex<LoggedChanges>,
    failure: Mutex<Option<StoreErrorKind>>,
    reads: Mutex<usize>,
}

#[async_trait]
impl ChangeLog for ScriptedLog {
    async fn read_changes(&self, from: u64) -> Result<LoggedChanges, StoreError> {
        *self.reads.lock().unwrap() += 1;
        if let Some(kind) = *self.failure.lock().unwrap() {
            return Err(StoreError::new(kind, "no"));
        }
        let mut found = self.content.lock().unwrap().clone();
        found.changes.retain(|(_, at)| *at >= from);
        found.has_more = found.changes.len() > 2;
        found.changes.truncate(2);
        Ok(found)
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    log: Arc<ScriptedLog>,
    watcher: Arc<ChangeWatcher>,
}

fn app(number: usize) -> AppId {
    format!("wx{number:04}").parse().unwrap()
}

impl Bench {
    /// A watcher that has read the log, with these apps.
    async fn with_apps(apps: usize) -> (Self, Vec<u64>) {
        let clock = Arc::new(ManualClock::new());
        let bench = Self { watcher: Arc::new(ChangeWatcher::new(clock.clone())), log: Arc::default(), clock };
        let waits: Vec<_> = (0..apps).map(|number| bench.wait(number, 0)).collect();
        bench.advance(2).await;
        let mut marks = Vec::new();
        for wait in waits {
            marks.push(wait.await.unwrap().mark);
        }
        (bench, marks)
    }

    async fn advance(&self, seconds: u64) {
        self.clock.advance_and_run(Duration::from_secs(seconds)).await;
    }

    fn wait(&self, number: usize, seen: u64) -> JoinHandle<StoreChange> {
        let (watcher, log) = (Arc::clone(&self.watcher), Arc::clone(&self.log));
        tokio::spawn(async move { watcher.wait_for_change(&*log, &app(number), seen).await })
    }

    fn wait_all(&self, marks: &[u64]) -> Vec<JoinHandle<StoreChange>> {
        marks.iter().enumerate().map(|(number, seen)| self.wait(number, *seen)).collect()
    }

    fn write(&self, epoch: &str, changes: &[(usize, u64)]) {
        let changes = changes.iter().map(|(number, at)| (app(*number), *at)).collect();
        *self.log.content.lock().unwrap() =
            LoggedChanges { epoch: epoch.to_owned(), changes, has_more: false };
    }
}

fn woken(waits: &[JoinHandle<StoreChange>]) -> Vec<bool> {
    waits.iter().map(JoinHandle::is_finished).collect()
}

#[tokio::test]
async fn change_wakes_its_app_and_no_other() {
    let (bench, marks) = Bench::with_apps(3).await;
    bench.write("", &[(1, 10)]);
    let waits = bench.wait_all(&marks);
    bench.advance(2).await;
    // The first app looks without a change, because it is its turn.
    assert_eq!(woken(&waits), [true, true, false]);
    // Five changes are more than a page. They are all seen after one read interval.
    bench.write("", &[(7, 11), (8, 12), (9, 13), (0, 14), (2, 15)]);
    bench.advance(2).await;
    assert_eq!(woken(&waits), [true; 3]);
}

#[tokio::test]
async fn change_without_a_waiter_is_returned_to_the_next() {
    let (bench, marks) = Bench::with_apps(2).await;
    let _reader = bench.wait(0, marks[0]);
    bench.write("", &[(1, 10)]);
    bench.advance(2).await;
    let late = bench.wait(1, marks[1]);
    bench.advance(0).await;
    assert!(late.is_finished());
}

#[tokio::test]
async fn another_waiter_reads_when_the_first_is_dropped() {
    let (bench, marks) = Bench::with_apps(2).await;
    let waits = bench.wait_all(&marks);
    bench.advance(1).await;
    waits[0].abort();
    bench.write("", &[(1, 10)]);
    bench.advance(1).await;
    assert!(waits[1].is_finished());
}

/// The log is another one, or an older one was restored, or a read failed.
#[tokio::test]
async fn all_apps_look_when_changes_may_be_missing() {
    let (bench, mut marks) = Bench::with_apps(2).await;
    bench.write("", &[(0, 10), (1, 11)]);
    for seconds in [2, 60] {
        for (number, wait) in bench.wait_all(&marks).into_iter().enumerate() {
            bench.advance(seconds).await;
            marks[number] = wait.await.unwrap().mark;
        }
    }
    for step in 0..3 {
        let waits = bench.wait_all(&marks);
        match step {
            0 => bench.write("another", &[(0, 20), (1, 21)]),
            1 => bench.write("another", &[(1, 19)]),
            _ => *bench.log.failure.lock().unwrap() = Some(StoreErrorKind::Failed),
        }
        bench.advance(2).await;
        assert_eq!(woken(&waits), [true; 2], "step {step}");
        for (number, wait) in waits.into_iter().enumerate() {
            let change = wait.await.unwrap();
            assert_eq!(change.failure.is_some(), step == 2, "step {step}");
            marks[number] = change.mark;
        }
    }
    let waits = bench.wait_all(&marks);
    *bench.log.failure.lock().unwrap() = None;
    bench.advance(2).await;
    assert_eq!(woken(&waits), [true; 2], "the log can be read again");
}

/// At its start, and when it has lasted 10 s.
#[tokio::test]
async fn failure_is_reported_twice() {
    let (bench, marks) = Bench::with_apps(1).await;
    *bench.log.failure.lock().unwrap() = Some(StoreErrorKind::Unreachable);
    let mut seen = marks[0];
    for seconds in [2, 10] {
        let wait = bench.wait(0, seen);
        bench.advance(seconds - 1).await;
        assert!(!wait.is_finished());
        bench.advance(1).await;
        let change = wait.await.unwrap();
        assert_eq!(change.failure.unwrap().kind(), StoreErrorKind::Unreachable);
        seen = change.mark;
    }
    let wait = bench.wait(0, seen);
    bench.advance(600).await;
    assert!(!wait.is_finished());
}

/// Without a change, one app looks for each read. Apps without a waiter are forgotten.
#[tokio::test]
async fn each_app_looks_once_a_minute_at_most() {
    for (apps, looks) in [(1, 2), (20, 40), (100, 60)] {
        let (bench, marks) = Bench::with_apps(apps).await;
        let looked = Arc::new(Mutex::new(0));
        for (number, seen) in marks.into_iter().enumerate() {
            let (watcher, log, looked) =
                (Arc::clone(&bench.watcher), Arc::clone(&bench.log), Arc::clone(&looked));
            tokio::spawn(async move {
                let mut seen = seen;
                loop {
                    seen = watcher.wait_for_change(&*log, &app(number), seen).await.mark;
                    *looked.lock().unwrap() += 1;
                }
            });
        }
        bench.advance(60).await;
        let (before, reads) = (*looked.lock().unwrap(), *bench.log.reads.lock().unwrap());
        bench.advance(120).await;
        assert_eq!(*bench.log.reads.lock().unwrap() - reads, 60);
        assert_eq!(*looked.lock().unwrap() - before, looks, "{apps} apps");
    }
}

#[tokio::test]
async fn not_more_than_500_apps_look_at_once() {
    let (bench, marks) = Bench::with_apps(1_200).await;
    let waits = bench.wait_all(&marks);
    let reads = *bench.log.reads.lock().unwrap();
    bench.write("another", &[]);
    bench.advance(2).await;
    assert!(woken(&waits).iter().all(|woken| *woken));
    assert_eq!(*bench.log.reads.lock().unwrap() - reads, 3, "1200 apps in three reads");
}
