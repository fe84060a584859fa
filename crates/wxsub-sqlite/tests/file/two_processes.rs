//! Two processes and one ledger.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use wxsub_outbox::state::{MessageState, Reason};
use wxsub_sqlite::OpenError;

use super::fixture::{Fixture, all};

/// Another process that holds a ledger until its input ends.
struct Holder(Child);

impl Holder {
    fn start(fixture: &Fixture) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args([
                "--exact",
                "two_processes::holds_the_ledger_named_on_its_input",
                "--ignored",
                "--nocapture",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{}", fixture.folder.path().display()).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("it is open")));
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "the other process of the next test"]
async fn holds_the_ledger_named_on_its_input() {
    let mut folder = String::new();
    std::io::stdin().read_line(&mut folder).unwrap();
    if folder.is_empty() {
        return;
    }
    let fixture = Fixture::new();
    let path = std::path::Path::new(folder.trim()).join("ledger.db");
    let ledger = wxsub_sqlite::SqliteLedger::open(path, wxsub_sqlite::SqliteOptions::new()).await.unwrap();
    fixture.enqueue(&ledger, "o").await;
    fixture.claim(&ledger).await;
    println!("it is open");
    std::io::stdin().read_line(&mut folder).unwrap();
}

#[tokio::test]
async fn the_second_process_is_refused_until_the_first_is_killed() {
    let fixture = Fixture::new();
    let holder = Holder::start(&fixture);
    let refused = fixture.refused().await;
    let OpenError::Locked { holder: named, .. } = &refused else { panic!("{refused}") };
    assert!(named.starts_with(&format!("process {} on ", holder.0.id())), "{named}");
    drop(holder);
    let ledger = fixture.open().await;
    let messages = all(&ledger).await;
    assert_eq!((messages[0].state, messages[0].reason), (MessageState::MaybeSent, Some(Reason::WorkerLost)));
}
