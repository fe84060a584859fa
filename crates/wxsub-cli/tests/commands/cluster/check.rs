//! `wxsub serve --check` tries the store, and a Redis Cluster is refused at the start.

use wxsub_test_support::Redis;

use super::super::served::{KEY, Served, config};
use super::super::weixin::{APPID, CLASSIC_TOKEN, SECRET, Weixin};
use super::super::wxsub::{file, folder, wxsub};

/// Exit code and log of `serve`, with `--check` or without.
fn serve(config: &str, is_check: bool) -> (i32, String) {
    let call = wxsub(&["serve", "--config", config]).env("APP_SECRET", SECRET);
    let ended = if is_check { call.args(&["--check"]).run() } else { call.run() };
    (ended.code, ended.err)
}

fn with_store(name: &str, store: &str) -> String {
    config(&format!("{name}.toml"), "http://127.0.0.1:1", &format!("[store]\n{store}\n"))
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn check_tries_the_store() {
    let protected = Redis::with(&["--requirepass", "SESAME"]);
    let wrong = file("wrong_password", "SWORDFISH");
    let right = file("right_password", "SESAME");
    let named = |password: &str| {
        with_store(
            "check-store",
            &format!("redis = \"{}\"\nredis_password_file = \"{password}\"", protected.address()),
        )
    };
    let (code, text) = serve(&named(&right), true);
    assert!(
        code == 0 && text.ends_with("the configuration is valid\n") && !text.contains("store: "),
        "{text}"
    );
    let (code, text) = serve(&named(&wrong), true);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("error: store: the token store refuses the user or the password: "), "{text}");
    assert!(
        text.ends_with("; correct the password file, or the user in the address of the store (fix_config)\n"),
        "{text}"
    );
    assert!(!text.contains("SWORDFISH"), "{text}");

    let mut gone = Redis::start();
    let config = with_store("check-gone", &format!("redis = \"{}\"", gone.address()));
    gone.kill();
    let (code, text) = serve(&config, true);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warning: store: the token store does not answer: "), "{text}");
    assert!(text.contains("(retry_later)\n"), "{text}");
}

/// While DNS is down, no host is known. `systemctl reload` runs the check, and a reload needs no store.
#[test]
fn unknown_host_of_the_store_is_a_warning() {
    let config =
        with_store("check-unknown-host", "redis = \"redis://redis.invalid:6379/0\"\nplaintext = true");
    let (code, text) = serve(&config, true);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warning: store: ") && text.contains("(fix_config)\n"), "{text}");
}

/// The records of all apps are read: another key, a newer layout, a broken record, another upstream.
#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn check_reads_the_records() {
    let redis = Redis::start();
    let record = |fields: &str| {
        redis.ask("FLUSHALL");
        let reply = redis.ask(&format!("HSET wxsub:{{{APPID}}}:record {fields}"));
        assert!(reply.starts_with(':'), "{reply}");
    };
    let valid =
        "generation 5 requested_at_ms 4000000000000 age_ms 0 stored_at_ms 4000000000000 lifetime_ms 7200000";
    let config = with_store("check-records", &format!("redis = \"{}\"", redis.address()));
    for (fields, expected, said) in [
        (format!("version 1 {valid} token A"), 0, ""),
        (format!("version 1 {valid} token A upstream 0123456789abcdef"), 2, "belongs to another upstream"),
        (format!("version 1 {valid} token_encrypted AAAA"), 2, "was encrypted with another key"),
        (format!("version 2 {valid} token A"), 0, "has a newer layout"),
        ("version 1 generation 5".to_owned(), 0, "is broken"),
    ] {
        record(&fields);
        let (code, text) = serve(&config, true);
        assert_eq!(code, expected, "{fields}: {text}");
        assert!(
            text.contains(said) && (said.is_empty() || text.contains(&format!("store: {APPID}: "))),
            "{text}"
        );
    }
}

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn cluster_is_refused_at_the_start() {
    let node = Redis::with(&["--cluster-enabled", "yes"]);
    assert!(node.ask("CLUSTER ADDSLOTSRANGE 0 16383").starts_with("+OK"));
    let state = folder();
    let config = with_store("cluster", &format!("redis = \"{}\"", node.address()));
    let backed = format!("state_dir = \"{}\"\n", state.path().display());
    let with_state = file("cluster-state.toml", &(backed + &std::fs::read_to_string(&config).unwrap()));
    for config in [config, with_state] {
        for is_check in [false, true] {
            let (code, text) = serve(&config, is_check);
            assert_eq!(code, 2, "{text}");
            let said = "error: store: the token store is a cluster, which is not supported: ";
            assert!(text.starts_with(said) && text.contains("use one Redis server"), "{text}");
        }
    }
}

/// Whatever else Redis says, the server starts. Here it starts from its state file.
#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn refused_store_does_not_stop_the_start() {
    let (mut redis, weixin, state) = (Redis::start(), Weixin::start(), folder());
    let start = |name: &str, redis: &Redis| {
        let more =
            format!("state_dir = \"{}\"\n[store]\nredis = \"{}\"\n", state.path().display(), redis.address());
        Served::start(&config(name, &weixin.base, &more))
    };
    let server = start("refused-first.toml", &redis);
    let before = server.token(KEY)["access_token"].clone();
    assert_eq!(server.stop("TERM"), Some(0));
    redis.kill();
    let protected = Redis::with(&["--requirepass", "SESAME"]);
    let (replica, full) =
        (Redis::start(), Redis::with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]));
    replica.ask("REPLICAOF 127.0.0.1 1");
    for (name, redis) in [("gone", &redis), ("protected", &protected), ("replica", &replica), ("full", &full)]
    {
        let server = start(&format!("refused-{name}.toml"), redis);
        assert_eq!(server.token(KEY)["access_token"], before, "{name}");
        assert_eq!(weixin.seen(CLASSIC_TOKEN), 1, "{name}");
        assert_eq!(server.stop("TERM"), Some(0));
    }
}
