//! Attacks a real `wxsub serve` over loopback, and measures honest requests before and during each attack.
//!
//! `scripts/hostile` runs it by hand. Each attack is bounded in time and count. The tests of `wxsub-server` and `wxsub-cli` check
//! the same attacks without measuring time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures on the real clock, and says what it found"
)]

#[path = "hostile/attack.rs"]
mod attack;
#[path = "hostile/honest.rs"]
mod honest;
#[path = "hostile/served.rs"]
mod served;

use std::sync::Arc;
use std::time::Duration;

use attack::{ATTACKS, Attack, Least};
use honest::{Honest, Measured};
use served::Served;
use tokio::time::{sleep, timeout};

/// How long honest requests are measured before an attack, and after all its connections are open.
const MEASURED: Duration = Duration::from_secs(5);

/// Maximum time of an attack.
const MAX_ATTACK: Duration = Duration::from_secs(60);

/// Maximum time of a row: starting the server, measuring it, and the attack.
const MAX_ROW: Duration = Duration::from_secs(120);

/// Maximum number of audit lines about requests that the server refused. Each address, client and reason gets 20 a minute, and the
/// line that counts the others.
const MAX_REFUSED_LINES: usize = 100;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some("--wxsub"), Some(wxsub)) = (arguments.next().as_deref(), arguments.next()) else {
        panic!("run scripts/hostile, which passes --wxsub PATH");
    };
    let only = arguments.next().unwrap_or_default();
    // Both ends of thousands of connections.
    let open_files = rlimit::increase_nofile_limit(1 << 16).unwrap();
    assert!(open_files > 6000, "the limit of open files is {open_files}; raise it");
    println!(
        "| attack | honest reads | p50 | p99 before | p99 during | ratio | honest sends | p99 before | p99 during | ratio | memory before | peak | refused, counted |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(&only)) {
        let row = timeout(MAX_ROW, run(&wxsub, attack)).await;
        row.unwrap_or_else(|_| panic!("{}: no end within {MAX_ROW:?}", attack.name));
    }
}

/// Runs one attack against a server of its own. Fails if an honest request failed, or if what was refused was not counted.
async fn run(wxsub: &str, attack: &'static Attack) {
    let served = Arc::new(Served::start(wxsub, attack).await);
    let (before, ()) = Honest::measure(&served, sleep(MEASURED)).await;
    let memory = served.memory("VmRSS:");
    let attacking = tokio::spawn(attack.run(Arc::clone(&served), MAX_ATTACK, MEASURED));
    let (during, responses) = Honest::measure(&served, attacking).await;
    let responses = responses.unwrap();
    let metrics = served.metrics().await;
    let mut counted = format!("{responses} responses");
    for (name, least) in attack.counted {
        let count: u64 =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
        let least = match least {
            Least::Count(least) => *least,
            Least::Responses => responses as u64,
        };
        assert!(count >= least, "{}: {name} {count}", attack.name);
        counted += &format!(", {} {count}", name.split('"').rev().nth(1).unwrap());
    }
    let (bytes, refused) = served.audit();
    assert!(refused <= MAX_REFUSED_LINES, "{}: {refused} lines in the audit", attack.name);
    counted += &format!(", audit {bytes} bytes, {refused} of its lines refused");
    let columns = |before: &Measured, during: &Measured| {
        let (quiet, busy) = (before.percentile(99), during.percentile(99));
        format!("{quiet:.1} ms | {busy:.1} ms | {:.2}", busy / quiet)
    };
    println!(
        "| {} | {} | {:.1} ms | {} | {} | {} | {memory:.0} MiB | {:.0} MiB | {counted} |",
        attack.name,
        during.reads.count(),
        during.reads.percentile(50),
        columns(&before.reads, &during.reads),
        during.sends.count(),
        columns(&before.sends, &during.sends),
        served.memory("VmHWM:"),
    );
    for (kind, measured) in [("reads", &during.reads), ("sends", &during.sends)] {
        assert_eq!(measured.failed, 0, "{}: honest {kind} failed", attack.name);
    }
}
