//! Attacks a real `wxsub serve` over loopback, and measures honest requests before and during each attack.
//!
//! `scripts/hostile` runs it by hand. Each attack is bounded in time and count. The tests of `wxsub-server` and `wxsub-cli` check
//! the same attacks without measuring time.
//!
//! The server has a core for itself, before the attack and during it. Honest callers and the sandbox that plays Weixin run on another
//! core. The attack is a process of its own on that core, with the idle policy of the scheduler: it never delays an honest caller.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures on the real clock, and says what it found"
)]

#[path = "hostile/attack.rs"]
mod attack;
#[path = "hostile/attacker.rs"]
mod attacker;
#[path = "hostile/honest.rs"]
mod honest;
#[path = "hostile/served.rs"]
mod served;
#[path = "hostile/weixin.rs"]
mod weixin;

use std::process::{Command, exit};
use std::time::Duration;

use attack::{ATTACKS, Attack, MinCount};
use attacker::Attacker;
use honest::{Honest, Measured};
use served::Served;
use tokio::time::{sleep, timeout};

/// How long honest requests are measured before an attack, and how long the attack goes on after its connections are open.
const MEASURED: Duration = Duration::from_secs(5);

/// How often each attack runs. The table has medians.
const ROUNDS: usize = 3;

/// Maximum time of a round: starting the server, measuring it, and the attack.
const MAX_ROUND: Duration = Duration::from_secs(120);

/// Maximum number of audit lines about requests that the server refused. Each address, client and reason gets 20 a minute, and the
/// line that counts the others.
const MAX_REFUSED_LINES: usize = 100;

/// The core of honest callers, sandboxes and attackers.
const CALLERS_CORE: &str = "1";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Both ends of thousands of connections.
    let open_files = rlimit::increase_nofile_limit(1 << 16).unwrap();
    assert!(open_files > 6000, "the limit of open files is {open_files}; raise it");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [attacker::ROLE, name] => attacker::run(name, MEASURED).await,
        ["measure", wxsub] => measure(wxsub, "").await,
        ["measure", wxsub, only] => measure(wxsub, only).await,
        ["--wxsub", ..] => measure_from_core(&arguments[1..]),
        _ => panic!("run scripts/hostile, which passes --wxsub PATH"),
    }
}

/// Starts this program again, on the core of the callers.
fn measure_from_core(arguments: &[String]) {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", CALLERS_CORE]).arg(std::env::current_exe().unwrap());
    let ended = pinned.arg("measure").args(arguments).status();
    let ended = ended.expect("taskset of util-linux, to give the server a core of its own");
    exit(ended.code().unwrap_or(1));
}

/// Runs the attacks with this word in their names.
async fn measure(wxsub: &str, only: &str) {
    let kinds = ["reads", "sends"]
        .map(|kind| format!("{kind} before | during | ratio | {kind} in a flood | ratio |"));
    println!("| attack | {} {} memory before | peak | refused, counted |", kinds[0], kinds[1]);
    println!("|{}", "---|".repeat(14));
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(only)) {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let round = timeout(MAX_ROUND, run(wxsub, attack)).await;
            rounds.push(round.unwrap_or_else(|_| panic!("{}: no end within {MAX_ROUND:?}", attack.name)));
        }
        let of = |number: fn(&Round) -> f64| rounds.iter().map(number).collect::<Vec<_>>();
        println!(
            "| {} | {} | {} | {:.0} MiB | {:.0} MiB | {} |",
            attack.name,
            columns(&rounds, |honest| &honest.reads),
            columns(&rounds, |honest| &honest.sends),
            median(of(|round| round.memory[0])),
            of(|round| round.memory[1]).into_iter().fold(0.0, f64::max),
            rounds[0].counted,
        );
    }
}

/// One attack against a server of its own.
struct Round {
    before: Honest,
    during: Honest,
    /// `None` if the attack has none.
    flood: Option<Honest>,
    /// Resident memory before the attack, and its peak, in MiB.
    memory: [f64; 2],
    /// What was refused.
    counted: String,
}

/// Runs one attack. Fails if an honest request failed, or if what was refused was not counted.
async fn run(wxsub: &str, attack: &'static Attack) -> Round {
    let mut attacker = Attacker::start(attack).await;
    let served = Served::start(wxsub, attack, &attacker).await;
    let (before, ()) = Honest::measure(&served, sleep(MEASURED)).await;
    let [memory, _] = served.memory();
    let (during, responses) = Honest::measure(&served, attacker.attack(&served.target())).await;
    let metrics = served.metrics().await;
    let flood = match attack.is_flood() {
        true => Some(Honest::measure(&served, attacker.flood()).await.0),
        false => None,
    };
    let mut counted = format!("{responses} responses");
    for (name, min) in attack.counted {
        let count: u64 =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
        let min = match min {
            MinCount::Count(min) => *min,
            MinCount::Responses => responses as u64,
        };
        assert!(count >= min, "{}: {name} {count}", attack.name);
        counted += &format!(", {} {count}", name.split('"').rev().nth(1).unwrap());
    }
    let (bytes, refused) = served.audit();
    assert!(refused <= MAX_REFUSED_LINES, "{}: {refused} lines in the audit", attack.name);
    counted += &format!(", audit {bytes} bytes, {refused} of its lines refused");
    for honest in [Some(&during), flood.as_ref()].into_iter().flatten() {
        let failed = [honest.reads.failed, honest.sends.failed];
        assert_eq!(failed, [0, 0], "{}: honest reads and sends failed", attack.name);
    }
    Round { before, during, flood, memory: [memory, served.memory()[1]], counted }
}

/// The columns of one kind of honest requests: 99th percentiles in milliseconds, and ratios of neighbours. Those in a flood are empty if
/// the attack has none.
fn columns(rounds: &[Round], kind: fn(&Honest) -> &Measured) -> String {
    let p99 = |honest: &Honest| kind(honest).percentile(99);
    let before: Vec<f64> = rounds.iter().map(|round| p99(&round.before)).collect();
    let beside = |other: Vec<f64>| {
        let ratios = sorted(other.iter().zip(&before).map(|(other, before)| other / before).collect());
        let (least, most) = (ratios[0], ratios[ROUNDS - 1]);
        format!("{:.2} | {:.2} ({least:.2}–{most:.2})", median(other), median(ratios))
    };
    let during = beside(rounds.iter().map(|round| p99(&round.during)).collect());
    let flood: Option<Vec<f64>> = rounds.iter().map(|round| round.flood.as_ref().map(p99)).collect();
    let flood = flood.map_or_else(|| "– | –".to_owned(), beside);
    format!("{:.2} | {during} | {flood}", median(before.clone()))
}

fn median(numbers: Vec<f64>) -> f64 {
    sorted(numbers)[ROUNDS / 2]
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}
