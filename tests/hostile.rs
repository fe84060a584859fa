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

use std::time::Duration;

use attack::{ATTACKS, Attack};
use honest::Honest;
use served::Served;
use tokio::time::{sleep, timeout};

/// How long honest requests are measured before an attack, and after all its connections are open.
const MEASURED: Duration = Duration::from_secs(5);

/// Maximum time of an attack.
const MAX_ATTACK: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some("--wxsub"), Some(wxsub)) = (arguments.next().as_deref(), arguments.next()) else {
        panic!("run scripts/hostile, which passes --wxsub PATH");
    };
    // Both ends of thousands of connections.
    let open_files = rlimit::increase_nofile_limit(1 << 16).unwrap();
    assert!(open_files > 6000, "the limit of open files is {open_files}; raise it");
    println!(
        "| attack | honest requests | failed | p50 | p99 before | p99 during | ratio | memory before | peak |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for attack in ATTACKS {
        run(&wxsub, &attack).await;
    }
}

/// Runs one attack against a server of its own.
async fn run(wxsub: &str, attack: &Attack) {
    let served = Served::start(wxsub).await;
    let before = Honest::measure(&served, sleep(MEASURED)).await;
    let memory = served.memory("VmRSS:");
    let mut held = Vec::new();
    let attacking = async {
        // The connections that are open by then are the attack.
        let _ = timeout(MAX_ATTACK, attack.run(&served, &mut held)).await;
        sleep(MEASURED).await;
    };
    let during = Honest::measure(&served, attacking).await;
    println!(
        "| {} | {} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.2} | {:.0} MiB | {:.0} MiB |",
        attack.name,
        during.durations.len(),
        during.failed,
        during.percentile(50),
        before.percentile(99),
        during.percentile(99),
        during.percentile(99) / before.percentile(99),
        memory,
        served.memory("VmHWM:"),
    );
    drop(held);
}
