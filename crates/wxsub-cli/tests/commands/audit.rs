//! The audit: one line for every read, report and send, with caller, app and outcome.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::interrupt::signal;
use super::served::{ALL, Served, ask, client, config, head};
use super::weixin::{APPID, CLASSIC_TOKEN, SECRET, SEND, STABLE_TOKEN, Weixin, line};
use super::wxsub::{file, folder, wxsub};

/// The lines of an audit.
fn read(path: &str) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line as text, with placeholders for app and generation.
fn describe(line: &Value, first: &Value) -> String {
    assert!(line["at"].as_str().unwrap() > "2026-" && line["address"] == "127.0.0.1");
    let generation = match &line["generation"] {
        Value::Null => "none",
        generation if generation == first => "first",
        _ => "later",
    };
    let app = if line["appid"] == APPID { "ours" } else { "none" };
    let words = ["api", "client", "action", "outcome", "errcode"].map(|name| line[name].to_string());
    format!("{} {app} {generation}", words.join(" ")).replace('"', "")
}

#[test]
fn every_audit_line_has_its_fields() {
    let weixin = Weixin::start();
    let ((key, lines), (sender, sender_lines)) =
        (client("orders", ALL), client("sender", "\"message:send\""));
    let audit = file("audit_lines.log", "");
    let path = config("audit_lines.toml", &weixin.base, &(lines + &sender_lines));
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"off\"", &format!("{audit:?}"))).unwrap();
    let server = Served::start(&path);
    let classic = |key: &str| {
        let query = format!("grant_type=client_credential&appid={APPID}&secret={key}");
        server.get(&format!("{CLASSIC_TOKEN}?{query}"), "");
    };
    let subscribe = |token: &str, body: &str| {
        server.post(&format!("{SEND}?access_token={token}"), "", body.as_bytes());
    };
    let route = |what: &str| format!("/v1/apps/{APPID}/{what}");
    let first = server.token(&key);
    let token = first["access_token"].as_str().unwrap();
    server.post(&route("access_token/report"), &key, json!({ "access_token": token }).to_string().as_bytes());
    // The previous token is accepted, too. The line names the client that got it.
    subscribe(token, &line("oUser", 1, "Hi"));
    subscribe(token, "{}");
    subscribe("never-heard-of", "{}");
    let forced =
        json!({"grant_type": "client_credential", "appid": APPID, "secret": key, "force_refresh": true});
    (0..3).for_each(|_| drop(server.post(STABLE_TOKEN, "", forced.to_string().as_bytes())));
    classic(&key);
    classic(&sender);
    classic("no-key");
    server.get(&route("access_token"), &sender);
    weixin.allow("oUser", 2);
    server.post(&route("messages"), &sender, line("oUser", 2, "Hi").as_bytes());
    server.post(&route("access_token/report"), &key, b"[");
    server.post(&route("messages"), &sender, b"[");
    assert_eq!(server.stop("TERM"), Some(0));
    let described: Vec<String> =
        read(&audit).iter().map(|line| describe(line, &first["generation"])).collect();
    let expected = [
        "v1 orders read ok null ours first",
        "v1 orders report ok null ours later",
        "weixin null send refused 43101 ours first",
        "weixin null send denied 47003 ours first",
        "weixin null send denied 40001 none none",
        "weixin orders report ok null ours later",
        "weixin orders report ok null ours later",
        "weixin orders report rate_limited 45011 ours none",
        "weixin orders read ok null ours later",
        "weixin sender read denied 48001 ours none",
        "weixin null read denied 40125 ours none",
        "v1 sender read denied null ours none",
        "v1 sender send sent null ours later",
        "v1 orders report denied null ours none",
        "v1 sender send denied null ours none",
    ];
    assert_eq!(described, expected);
    let text = fs::read_to_string(&audit).unwrap();
    for secret in [SECRET, token, key.as_str(), sender.as_str(), "oUser"] {
        assert!(!text.contains(secret));
    }
}

/// A configuration with this audit.
fn audited(name: &str, weixin: &str, audit: &str, clients: &str) -> String {
    let path = config(name, weixin, clients);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("audit = \"off\"", audit)).unwrap();
    path
}

fn token_path() -> String {
    format!("/v1/apps/{APPID}/access_token")
}

#[test]
fn killed_server_has_the_line_of_every_response() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let audit = file("audit_killed.log", "");
    let path = audited("audit_killed.toml", &weixin.base, &format!("audit = {audit:?}"), &lines);
    let server = Served::start(&path);
    for _ in 0..20 {
        server.token(&key);
    }
    assert_eq!(server.stop("KILL"), None);
    assert_eq!(read(&audit).len(), 20);
}

/// Starts a server whose files may have 2 KiB, as on a disk that is full then.
fn on_a_full_disk(config: &str) -> Served {
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    Served::start_as(wxsub(["serve", "--config", config]).under_shell(script))
}

fn failures(server: &Served) -> usize {
    let metrics = server.get("/metrics", "").1;
    let line = metrics.lines().find_map(|line| line.strip_prefix("wxsub_audit_failures_total ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn full_disk_is_counted_and_logged_and_the_next_file_is_complete() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let folder = folder();
    let audit = folder.path().join("audit.log").to_str().unwrap().to_owned();
    let path = audited("audit_full.toml", &weixin.base, &format!("audit = {audit:?}"), &lines);
    let mut server = on_a_full_disk(&path);
    for _ in 0..100 {
        server.token(&key);
    }
    let lost = failures(&server);
    // The last line is incomplete, and all others are whole.
    let text = fs::read_to_string(&audit).unwrap();
    let whole = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert!(lost > 50 && whole + lost == 100 && text.lines().count() <= whole + 1, "{lost} {text}");
    server.wait_until_it_says("writing the audit failed");
    fs::rename(&audit, format!("{audit}.1")).unwrap();
    signal(&server.child, "HUP");
    server.wait_until_it_says("the configuration was reloaded");
    server.token(&key);
    assert_eq!((read(&audit).len(), failures(&server)), (1, lost));
    assert_eq!(server.stop("TERM"), Some(0));
}

#[test]
fn required_audit_refuses_what_it_cannot_record() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let folder = folder();
    let audit = folder.path().join("audit.log").to_str().unwrap().to_owned();
    let required = format!("audit = {audit:?}\naudit_required = true");
    let path = audited("audit_required.toml", &weixin.base, &required, &lines);
    let mut server = on_a_full_disk(&path);
    let served = (0..100).take_while(|_| server.get(&token_path(), &key).0 == 200).count();
    assert!(served > 3 && served < 100, "{served}");
    let kind = |(status, body): (u16, String)| {
        let body: Value = serde_json::from_str(&body).unwrap();
        (status, body["kind"].as_str().map(str::to_owned), body["outcome"].as_str().map(str::to_owned))
    };
    let unavailable = Some("audit_unavailable".to_owned());
    assert_eq!(kind(server.get(&token_path(), &key)), (503, unavailable.clone(), None));
    let classic = format!("{CLASSIC_TOKEN}?grant_type=client_credential&appid={APPID}&secret={key}");
    let refused: Value = serde_json::from_str(&server.get(&classic, "").1).unwrap();
    assert_eq!((&refused["errcode"], refused.get("access_token")), (&json!(-1), None));
    let messages = format!("/v1/apps/{APPID}/messages");
    weixin.allow("oUser", 1);
    let refused = kind(server.post(&messages, &key, line("oUser", 1, "Hi").as_bytes()));
    assert_eq!((refused, weixin.seen(SEND)), ((503, unavailable, Some("not_sent".to_owned())), 0));
    assert_eq!(server.get(&token_path(), "no-key").0, 401);
    fs::rename(&audit, format!("{audit}.1")).unwrap();
    signal(&server.child, "HUP");
    server.wait_until_it_says("the configuration was reloaded");
    assert_eq!(server.post(&messages, &key, line("oUser", 1, "Hi").as_bytes()).0, 200);
    let outcomes: Vec<_> = read(&audit).iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["started", "sent"]);
    assert_eq!(server.stop("TERM"), Some(0));
}

#[test]
fn callers_without_a_key_cannot_fill_the_audit() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let audit = file("audit_flood.log", "");
    let path = audited("audit_flood.toml", &weixin.base, &format!("audit = {audit:?}"), &lines);
    let server = Served::start(&path);
    // All at once: most of the responses are late.
    let request = head("GET", &token_path(), "no-key", 0);
    let asked: Vec<_> = (0..500)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for mut stream in asked {
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    }
    let metrics = server.get("/metrics", "").1;
    assert!(metrics.contains("wxsub_denials_total{api=\"v1\",reason=\"no_key\"} 500\n"), "{metrics}");
    server.token(&key);
    assert_eq!(server.stop("TERM"), Some(0));
    let lines = read(&audit);
    let left_out: u64 = lines.iter().filter_map(|line| line["left_out"].as_u64()).sum();
    let denied =
        lines.iter().filter(|line| line["outcome"] == "denied" && line["left_out"].is_null()).count();
    assert!(lines.len() < 100 && left_out + denied as u64 == 500, "{} lines, {left_out}", lines.len());
}

/// Sets the flag when it is dropped, also by a failed assertion: the other threads end then.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads tokens from four threads while `rotate` runs. Returns the number of responses.
fn read_during(server: &Served, key: &str, rotate: impl FnOnce(&AtomicUsize)) -> usize {
    let (address, done, count) = (server.address(), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let read_on = || {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(ask(address, "GET", &token_path(), key, b"").unwrap().0, 200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(read_on)).collect();
        let stop = SetOnDrop(&done);
        rotate(&count);
        drop(stop);
        threads.into_iter().for_each(|one| one.join().unwrap());
    });
    count.into_inner()
}

/// Waits until there were this many more responses.
fn wait_for(count: &AtomicUsize, more: usize) {
    let until = count.load(Ordering::Relaxed) + more;
    while count.load(Ordering::Relaxed) < until {
        thread::yield_now();
    }
}

#[test]
fn rotation_under_load_loses_no_line() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let folder = folder();
    let audit = folder.path().join("audit.log").to_str().unwrap().to_owned();
    let path = audited("audit_rotated.toml", &weixin.base, &format!("audit = {audit:?}"), &lines);
    let server = Served::start(&path);
    let (child, renamed) = (&server.child, |number: usize| format!("{audit}.{number}"));
    let responses = read_during(&server, &key, |count| {
        for number in 1..=5 {
            wait_for(count, 50);
            fs::rename(&audit, renamed(number)).unwrap();
            signal(child, "HUP");
            while !fs::exists(&audit).unwrap() {
                thread::yield_now();
            }
        }
        wait_for(count, 50);
    });
    assert_eq!(server.stop("TERM"), Some(0));
    let rotated: usize = (1..=5).map(|number| read(&renamed(number)).len()).sum();
    assert_eq!(rotated + read(&audit).len(), responses);
}

/// The documented configuration of logrotate, with this server's paths.
#[test]
#[ignore = "needs logrotate: scripts/test runs it"]
fn logrotate_rotates_a_live_server() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let folder = folder();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let audit = at("audit.jsonl");
    let path = audited("audit_logrotate.toml", &weixin.base, &format!("audit = {audit:?}"), &lines);
    let server = Served::start(&path);
    let rules = include_str!("../../../../docs/operating/wxsub.logrotate")
        .replace("/var/log/wxsub/audit.jsonl", &audit)
        .replace("systemctl reload wxsub", &format!("kill -HUP {}", server.child.id()))
        .replace("su wxsub wxsub\n", "")
        // Numbers, because the test rotates more than once a second.
        .replace("    dateext\n    dateformat -%Y%m%d-%s\n", "");
    fs::write(at("rules"), rules).unwrap();
    let responses = read_during(&server, &key, |count| {
        for _ in 0..3 {
            wait_for(count, 50);
            let rotated = Command::new("/usr/sbin/logrotate")
                .args(["--force", "--state", &at("state"), &at("rules")])
                .output()
                .unwrap();
            assert!(rotated.status.success() && rotated.stderr.is_empty(), "{rotated:?}");
            while !fs::exists(&audit).unwrap() {
                thread::yield_now();
            }
        }
        wait_for(count, 50);
    });
    assert_eq!(server.stop("TERM"), Some(0));
    let unpacked =
        Command::new("sh").args(["-c", "zcat -f audit.jsonl*"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8(unpacked.stdout).unwrap().lines().count(), responses);
}
