//! Two processes and one ledger. Without a test harness, because the program starts itself as the other process.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic, and say why"
)]

#[path = "file/fixture.rs"]
#[allow(dead_code, reason = "another test needs all of it")]
mod fixture;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use wxsub_outbox::state::{MessageState, Reason};
use wxsub_sqlite::{OpenError, OpenErrorKind, SqliteLedger, SqliteOptions};

use fixture::{Fixture, all};

/// The argument of the other process, before the path of the ledger.
const HOLD: &str = "hold";

/// Another process that holds a ledger until it is killed.
struct Holder(Child);

impl Holder {
    fn start(ledger: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.arg(HOLD).arg(ledger).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "open");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other process: an attempt is under way.
async fn hold(ledger: &Path) {
    let fixture = Fixture::new();
    let ledger = SqliteLedger::open(ledger, SqliteOptions::new()).await.unwrap();
    fixture.enqueue(&ledger, "o").await;
    fixture.claim(&ledger).await;
    println!("open");
    // Ends with the test at the latest.
    let _ = std::io::stdin().read_line(&mut String::new());
}

async fn the_second_process_is_refused_until_the_first_is_killed() {
    let fixture = Fixture::new();
    let holder = Holder::start(&fixture.path());
    let refused = fixture.refused().await;
    let OpenError { kind: OpenErrorKind::Locked(named), .. } = &refused else { panic!("{refused}") };
    assert!(named.starts_with(&format!("process {} on ", holder.0.id())), "{named}");
    let reader = SqliteLedger::open_read_only(fixture.path()).await.unwrap();
    assert_eq!(all(&reader).await[0].state, MessageState::Attempting);
    drop(holder);
    let ledger = fixture.open().await;
    let messages = all(&ledger).await;
    assert_eq!((messages[0].state, messages[0].reason), (MessageState::MaybeSent, Some(Reason::WorkerLost)));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(HOLD) => hold(Path::new(&arguments[2])).await,
        // Test runners ask for the names of tests.
        Some("--list") => {}
        _ => the_second_process_is_refused_until_the_first_is_killed().await,
    }
}
