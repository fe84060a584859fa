//! Three `wxsub serve` processes that share tokens through a real Redis.

mod check;
mod node;
mod refusals;
mod rolling_upgrade;
mod rotation;
mod scenario;
mod traffic;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use wxsub_sandbox::Fault;
use wxsub_test_support::{Redis, free_port, wait_for};

use self::node::Setup;
use self::scenario::{EVENTS, FetchCounts, PREFIX, Scenario, ScenarioResult, fetch_every_minute};
use self::traffic::{Call, message, messages, read, seconds};
use super::served::{KEY, Served, ask, config};
use super::weixin::{APPID, CLASSIC_TOKEN, SECRET, Weixin, allow};
use super::wxsub::{file, folder};

const ENCRYPTION_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl Setup {
    /// Sends a message through each server. Each arrives once.
    fn send_through_all(&self, round: u16) {
        for (number, server) in self.nodes.iter().enumerate() {
            let openid = format!("o{round}-{number}");
            allow(&self.weixin.sandbox, &openid, 1);
            let (status, body) = server.post(&messages(), KEY, message(&openid).as_bytes());
            assert_eq!(status, 200, "{body}");
            assert_eq!(self.weixin.sandbox.mailbox(&openid.parse().unwrap()).len(), 1);
        }
    }
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn cold_reads_of_three_servers_cost_one_fetch() {
    let cluster = Setup::quiet("cold", "");
    thread::scope(|scope| {
        for number in 0..90 {
            let address = cluster.nodes[number % 3].address();
            scope.spawn(move || {
                let (status, body) = ask(address, "GET", &read(""), KEY, b"").unwrap();
                assert_eq!(status, 200, "{body}");
            });
        }
    });
    cluster.agree();
    assert_eq!(cluster.fetches(), 1);
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn external_invalidation_costs_one_fetch_and_no_send() {
    let cluster = Setup::quiet("invalidated", "");
    let mut before = cluster.agree();
    for round in 1..=3 {
        cluster.invalidate_tokens();
        cluster.send_through_all(round);
        let after = cluster.agree();
        assert!(after > before);
        assert_eq!(cluster.fetches(), 1 + u64::from(round));
        before = after;
    }
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn killed_and_new_server_cost_no_fetch() {
    let mut cluster = Setup::quiet("killed", "");
    let before = cluster.agree();
    cluster.kill(0);
    cluster.invalidate_tokens();
    assert_eq!(cluster.report(1), 200);
    cluster.start_again(0);
    assert!(cluster.agree() > before);
    cluster.send_through_all(1);
    assert_eq!(cluster.fetches(), 2);
}

/// The peer need not wait until the lease expires.
#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn server_that_is_stopped_during_its_fetch_releases_its_lease() {
    let (redis, weixin) = (Redis::start(), Weixin::start());
    weixin.sandbox.add_fault(CLASSIC_TOKEN, 1, Fault::Hang);
    let store = format!("[store]\nredis = \"{}\"\n", redis.address());
    let config = config("released.toml", &weixin.base, &store);
    let leased = || redis.ask(&format!("EXISTS wxsub:{{{APPID}}}:lease")).contains(":1");
    let server = Served::start(&config);
    wait_for("a fetch", || weixin.seen(CLASSIC_TOKEN) == 1);
    assert!(leased());
    assert_eq!(server.stop("TERM"), Some(0));
    assert!(!leased());
    Served::start(&config).token(KEY);
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 2);
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn redis_restarts_empty_without_a_fetch() {
    let mut cluster = Setup::quiet("empty", "");
    let before = cluster.agree();
    // A server that is still without Redis when its token is refused fetches without a lease.
    let connected = |cluster: &Setup| cluster.metric(&format!("wxsub_token_store_up{{appid=\"{APPID}\"}}"));
    cluster.redis.kill();
    wait_for("no server with Redis", || connected(&cluster) == 0);
    cluster.send_through_all(1);
    cluster.redis.start_again();
    wait_for("all servers with Redis", || connected(&cluster) == 3);
    let record = format!("HGET wxsub:{{{APPID}}}:record generation");
    let is_written = || cluster.redis.ask(&record).contains(&before.to_string());
    wait_for("the record, which is written again from memory", is_written);
    assert_eq!((cluster.agree(), cluster.fetches()), (before, 1));
    cluster.invalidate_tokens();
    cluster.send_through_all(2);
    assert!(cluster.agree() > before);
    assert_eq!(cluster.fetches(), 2);
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn report_during_redis_suspension_keeps_current_token() {
    let cluster = Setup::quiet("still", "");
    let before = cluster.agree();
    cluster.redis.signal("STOP");
    assert_eq!(cluster.report(0), 503);
    let metrics = cluster.nodes[0].get("/metrics", "").1;
    assert!(metrics.contains(&format!("wxsub_token_store_up{{appid=\"{APPID}\"}} 0")), "{metrics}");
    cluster.send_through_all(1);
    assert_eq!((cluster.agree(), cluster.fetches()), (before, 1));
    cluster.redis.signal("CONT");
    wait_for("another token: the claim was not forgotten", || cluster.agree() > before);
    assert_eq!(cluster.fetches(), 2);
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn server_without_redis_and_files_waits_before_it_fetches() {
    let (mut redis, weixin) = (Redis::start(), Weixin::start());
    redis.kill();
    let store = format!("[store]\nredis = \"{}\"\n", redis.address());
    let node = Served::start(&config("nothing.toml", &weixin.base, &store));
    let metric = |name: &str, more: &str| node.metric(&format!("{name}{{appid=\"{APPID}\"{more}}}"));
    let call = Call { method: "GET", path: &read(""), body: "" };
    assert_eq!(call.at(node.address(), || false).unwrap().0, 503);
    assert_eq!((metric("wxsub_token_store_up", ""), metric("wxsub_token_expires_in_seconds", "")), (0, 0));
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 0);
    wait_for("a fetch without lease", || {
        metric("wxsub_token_fetches_total", ",result=\"without_lease\"") == 1
    });
    assert_eq!(call.at(node.address(), || false).unwrap().0, 200);
    assert!(metric("wxsub_token_expires_in_seconds", "") > 0);
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn server_suspended_during_its_fetch_changes_nothing_later() {
    let cluster = Setup::quiet("stopped", "");
    let before = cluster.agree();
    super::interrupt::signal(&cluster.nodes[0].child, "STOP");
    cluster.invalidate_tokens();
    assert_eq!(cluster.report(1), 200);
    super::interrupt::signal(&cluster.nodes[0].child, "CONT");
    assert!(cluster.agree() > before);
    cluster.send_through_all(1);
    assert_eq!(cluster.fetches(), 2);
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn external_fetch_every_minute_costs_no_send_and_at_most_one_fetch() {
    // With an overlap of five minutes, every second fetch invalidates the previous token; without overlap, each does.
    for (minutes, overlap, dead) in [(8, 300, 4), (4, 0, 4)] {
        let FetchCounts { fetches, named, counted } = fetch_every_minute(minutes, seconds(overlap));
        eprintln!(
            "{minutes} external fetches: {fetches} of ours, {named} log lines, {counted} in the metrics"
        );
        assert!((1 + dead..=1 + minutes).contains(&fetches), "{fetches} fetches");
        assert!(
            u64::try_from(named).unwrap() == counted && counted >= dead,
            "{named} times said, {counted} counted"
        );
    }
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn no_read_and_no_send_fails_with_any_fault() {
    let path = file("scenario.key", ENCRYPTION_KEY);
    let mut scenario = Scenario::begin(&format!("encryption_key_file = \"{path}\"\n"));
    for (name, ideal, event) in EVENTS {
        let cost = scenario.run(ideal, event);
        eprintln!("{name}: {cost} requests for a token, {ideal} at best");
        assert!((ideal..=ideal + 1).contains(&cost), "{name}: {cost} requests, {ideal} at best");
    }
    let ScenarioResult { seen, logged, commands } = scenario.end();
    let (reads, sent, unknown) = (seen.reads, seen.sent.len(), seen.unknown.len());
    eprintln!("{reads} reads, {sent} messages sent, {unknown} maybe sent");
    // At most one message was in flight at the killed server, and one at the suspended server.
    assert!(reads > 1000 && sent > 500 && unknown <= 2);
    let named = format!("{{{APPID}}}");
    assert!(commands.contains("token_encrypted") && commands.contains(&format!("{PREFIX}:{named}:record")));
    assert_eq!(commands.matches(&named).count(), commands.matches(&format!("{PREFIX}:{named}")).count());
    assert!(seen.tokens.len() > 8 && logged.contains("access token refreshed"));
    for shown in [commands, logged] {
        assert!(!shown.contains(SECRET) && !shown.contains(ENCRYPTION_KEY));
        assert!(seen.tokens.iter().all(|token| !shown.contains(token)));
    }
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn commands_of_the_cluster_guide_work() {
    let printed = run_commands_of_the_guide();
    let [one, two, three, journal, alone @ .., generation, again, and_again, at_last] = printed.as_slice()
    else {
        panic!("{printed:#?}")
    };
    let [still, still_so, consent, sent] = alone else { panic!("{printed:#?}") };
    let value = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let token = value(one)["access_token"].clone();
    assert!(token.is_string() && value(one)["generation"] == value(generation), "{printed:#?}");
    for line in [two, three, still, still_so, again, and_again, at_last] {
        assert_eq!(value(line)["access_token"], token, "{printed:#?}");
    }
    assert_eq!(value(journal)["requests"], json!({ CLASSIC_TOKEN: 1 }));
    assert_eq!((&value(consent)["action"], &value(sent)["outcome"]), (&"confirm".into(), &"sent".into()));
}

/// The ports in the document.
const PORTS: [&str; 5] = ["6390", "8459", "8471", "8472", "8473"];

/// The commands of its first section, after the installation.
fn commands_of_the_guide() -> String {
    let text = include_str!("../../../../docs/cluster.md");
    let chapter = text.split("## From nothing\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks = chapter.split("```bash\n").skip(2).map(|block| block.split("```").next().unwrap());
    blocks.collect()
}

/// The same commands with free ports.
fn on_free_ports(commands: String) -> String {
    PORTS.iter().fold(commands, |commands, port| {
        assert!(commands.contains(port));
        commands.replace(port, &free_port().to_string())
    })
}

/// Runs them in a shell, in an empty folder, with the binary in the path. Returns the lines they print.
fn run_commands_of_the_guide() -> Vec<String> {
    let folder = folder();
    let binary = Path::new(env!("CARGO_BIN_EXE_wxsub")).parent().unwrap().to_str().unwrap();
    // All processes that it starts end with it.
    let script = format!(
        "PATH=\"{binary}:$PATH\"\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}",
        on_free_ports(commands_of_the_guide())
    );
    let mut shell = Command::new("bash");
    let shell =
        shell.args(["-euc", &script]).current_dir(folder.path()).env("no_proxy", "*").output().unwrap();
    let (out, said) = (String::from_utf8(shell.stdout).unwrap(), String::from_utf8_lossy(&shell.stderr));
    assert!(shell.status.success(), "{}\n{out}{said}", logs(folder.path()));
    out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What the processes wrote into their log files.
fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.map(|path| format!("{}:\n{}", path.display(), fs::read_to_string(&path).unwrap())).collect()
}
