//! The chapter about the ledger: what it costs to send through one, to enqueue, and to notify an endpoint.

use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;
use wxsub_benches::{Arguments, Row, Unit, subject};
use wxsub_test_support::{Postgres, proc_fs};

use crate::process::{self, Loaded};
use crate::served::{Folder, Served, Setup};

/// How many messages one request of NDJSON has.
const LINES: usize = 100;

/// What one round measures.
struct Round {
    /// Sends without a ledger.
    plain: Loaded,
    sqlite: Sent,
    postgres: Sent,
    /// With an endpoint of webhooks, and a ledger in SQLite. It has them all when the CPU time is read.
    notifying: Loaded,
    /// Enqueues with one message a request and with many, in SQLite and in PostgreSQL.
    single: [Loaded; 2],
    lines: [Loaded; 2],
}

/// Sends through a ledger.
struct Sent {
    loaded: Loaded,
    /// How many messages share each commit. A message needs two: its attempt, and its outcome.
    sharing: f64,
}

/// Sends and enqueues.
pub(crate) fn print(arguments: &Arguments, folder: &Folder) {
    let upstream = process::upstream();
    let weixin = format!("http://{}", upstream.ready);
    // Each commit is synced, as in use.
    let postgres = Postgres::in_folder(TempDir::new().unwrap(), &["fsync=on"]);
    let in_file = |name: &str| format!("[ledger]\nurl = \"sqlite:{}\"\n", folder.path(name));
    let in_postgres = format!("[ledger]\nurl = \"{}\"\n", postgres.url());
    let secret = folder.write("hook", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let endpoint = format!(
        "[[webhooks]]\nname = \"hook\"\nurl = \"{weixin}/hooks\"\nsecret_files = [\"{secret}\"]\napps = [\"*\"]\n"
    );
    let start = |name, sections: String| {
        Setup { name, weixin: &weixin, apps: 1, top: "audit = \"off\"".to_owned(), sections }
            .ready(arguments, folder)
    };
    let plain = start("without-ledger", String::new());
    let ledgers = [start("in-sqlite", in_file("sqlite.db")), start("in-postgres", in_postgres)];
    let notifying = start("notifying", in_file("notifying.db") + &endpoint);
    let message = String::from_utf8(subject::message().to_json()).unwrap();
    // It waits in the queue, so that only its recording is measured.
    let queued = message.replacen('{', r#"{"send_at":"2100-01-01T00:00:00Z","#, 1);
    let line = |number| queued.replacen('{', &format!("{{\"idempotency_key\":\"{{request}}-{number}\","), 1);
    let lines = (0..LINES).map(line).collect::<Vec<_>>().join("\n");
    let seconds = arguments.amount(3, 1);
    let rounds: Vec<_> = (0..arguments.rounds(11, 5))
        .map(|_| Round {
            plain: plain.post("messages", &message, seconds),
            sqlite: sent(&ledgers[0], &message, seconds),
            postgres: sent(&ledgers[1], &message, seconds),
            notifying: notified(&notifying, &message, seconds),
            single: [0, 1].map(|ledger| ledgers[ledger].post("outbox", &queued, seconds)),
            lines: [0, 1].map(|ledger| enqueued_lines(&ledgers[ledger], &lines, seconds)),
        })
        .collect();
    print_sends(&rounds);
    print_enqueues(&rounds);
}

fn sent(server: &Served, message: &str, seconds: u64) -> Sent {
    let commits = || server.metric("wxsub_ledger_commit_seconds_count", "") as f64;
    let before = commits();
    let loaded = server.post("messages", message, seconds);
    let messages = loaded.rate * seconds as f64;
    Sent { loaded, sharing: 2.0 * messages / (commits() - before) }
}

/// The same, until the endpoint has all webhooks. Their cost is in the CPU time.
fn notified(server: &Served, message: &str, seconds: u64) -> Loaded {
    let process = server.process.id();
    let sent = || server.metric("wxsub_sends_total", "outcome=\"sent\"");
    let before = proc_fs::cpu(&process);
    let loaded = server.post("messages", message, seconds);
    while server.metric("wxsub_webhook_attempts_total", "result=\"delivered\"") < sent() {
        sleep(Duration::from_millis(100));
    }
    let cpu = (proc_fs::cpu(&process) - before).as_nanos() as f64;
    Loaded { cpu: cpu / (loaded.rate * seconds as f64), ..loaded }
}

fn enqueued_lines(server: &Served, lines: &str, seconds: u64) -> Loaded {
    let enqueued = || server.metric("wxsub_outbox_enqueued_total", "");
    let before = enqueued();
    let loaded = server.load("outbox", Some(lines), "application/x-ndjson", seconds);
    // A line can be refused in a response with status 200.
    let rate = (enqueued() - before) as f64 / seconds as f64;
    Loaded { rate, cpu: loaded.cpu * loaded.rate / rate, ..loaded }
}

fn print_sends(rounds: &[Round]) {
    let row = |what: &str, ours: fn(&Round) -> Loaded, bare: fn(&Round) -> Loaded| {
        let pairs: Vec<_> = rounds.iter().map(|round| (ours(round), bare(round))).collect();
        Row::pairs(format!("CPU per message sent {what}"), Unit::Micros, &pairs, |m| m.cpu).print();
        Row::pairs("messages per second of the same", Unit::PerSecond, &pairs, |m| m.rate).print();
    };
    let sharing = |sent: fn(&Round) -> &Sent| {
        let numbers: Vec<_> = rounds.iter().map(|round| sent(round).sharing).collect();
        Row::alone("messages that share a commit there", Unit::Times, &numbers).print();
    };
    row("through a ledger in SQLite, beside no ledger", |round| round.sqlite.loaded, |round| round.plain);
    sharing(|round| &round.sqlite);
    row(
        "through a ledger in PostgreSQL, beside no ledger",
        |round| round.postgres.loaded,
        |round| round.plain,
    );
    sharing(|round| &round.postgres);
    let what = "through a ledger in SQLite, with its webhook, beside the same without an endpoint";
    row(what, |round| round.notifying, |round| round.sqlite.loaded);
}

fn print_enqueues(rounds: &[Round]) {
    for (ledger, name) in ["SQLite", "PostgreSQL"].into_iter().enumerate() {
        let pairs: Vec<_> = rounds.iter().map(|round| (round.lines[ledger], round.single[ledger])).collect();
        let what = format!(
            "messages enqueued per second in {name}: {LINES} lines a request, beside one message a request"
        );
        Row::pairs(what, Unit::PerSecond, &pairs, |m| m.rate).print();
        Row::pairs("CPU per message of the same", Unit::Micros, &pairs, |m| m.cpu).print();
    }
}
