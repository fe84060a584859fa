//! `wxsub status`, and `wxsub doctor` through a control server: with a key, without an AppSecret.

use serde_json::json;
use wxsub_proto::ErrCode;
use wxsub_sandbox::Fault;

use super::doctor::Found;
use super::durable::Setup;
#[cfg(unix)]
use super::interrupt::signal;
use super::served::{ALL, KEY, Served, client, config};
use super::served_outbox::program;
use super::weixin::{APPID, CLASSIC_TOKEN, SEND, UNUSED_BASE, Weixin};
use super::wxsub::{Ended, Wxsub, assert_has, wxsub};

const CHECKS: [&str; 8] =
    ["configuration", "dns", "connection", "server", "ledger", "key", "app", "webhooks"];

/// A server whose app has tried to fetch a token, and its key with these scopes.
fn served(name: &str, weixin: &Weixin, scopes: &str) -> (Served, String) {
    let (key, lines) = client("key", scopes);
    let server = Served::start(&config(name, &weixin.base, &lines));
    server.get(&format!("/v1/apps/{APPID}/access_token"), KEY);
    (server, key)
}

/// A server with a ledger, and a key with the rights of an operator.
fn with_ledger(name: &str) -> (Weixin, Setup, Served, String) {
    let (weixin, setup) = (Weixin::start(), Setup::new());
    let (key, lines) = client("ops", &format!("{ALL}, \"outbox:write\", \"outbox:read\", \"outbox:decide\""));
    let ledger = format!("[ledger]\nurl = \"sqlite:{}\"\n", setup.path("served.db"));
    let server = Served::start(&config(name, &weixin.base, &(lines + &ledger)));
    (weixin, setup, server, key)
}

#[test]
fn healthy_app_needs_no_action() {
    let weixin = Weixin::start();
    let (server, key) = served("status_ok.toml", &weixin, "\"admin\"");
    let ended = server.call(&key, &["status"]).without("WXSUB_APPID").run();
    assert_eq!((ended.code, ended.err.as_str()), (0, "apps that need action: 0 of 1\n"), "{ended:?}");
    assert!(ended.out.starts_with(&format!("{APPID} ok, token, expires_in ")), "{}", ended.out);
    let ended = server.call(&key, &["status", "--json"]).run();
    let app = &ended.json()[0];
    assert_eq!((&app["appid"], &app["state"], &app["problems"]), (&json!(APPID), &json!("ok"), &json!([])));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn refused_app_has_cause_address_and_remedy_in_both_languages() {
    let weixin = Weixin::start();
    weixin.block_address();
    let (server, key) = served("status_ip.toml", &weixin, "\"admin\"");
    let ended = server.call(&key, &["status"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (3, "apps that need action: 1 of 1\n"), "{ended:?}");
    assert_has(
        &ended.out,
        &[
            "down, token, no access_token\n",
            "  failing since: 20",
            "on the app's IP allow-list; Weixin sees the server as 127.0.0.1 (errcode 40164: ",
            "  what to do: add 127.0.0.1 to the app's IP allow-list in Weixin's console\n",
            "  trace id for Weixin's support: ",
        ],
    );
    let chinese = "  处理建议：请在微信后台把 127.0.0.1 加入该应用的 IP 白名单\n";
    let ended = server.call(&key, &["status"]).env("LANG", "zh_CN.UTF-8").run();
    assert!(ended.out.contains(chinese) && ended.err == "共 1 个应用，1 个需要处理\n", "{ended:?}");
    assert_eq!(server.call(&key, &["--lang", "zh", "status"]).run().out, ended.out);
    let app = &server.call(&key, &["status", "--json"]).run().json()[0];
    assert_eq!((&app["error"]["ip"], &app["error"]["errcode"]), (&json!("127.0.0.1"), &json!(40164)));
    assert_eq!(app["problems"][0]["remedy"], "allow_ip");
}

/// A failed reload is a problem of the server. It comes before the apps.
#[cfg(unix)]
#[test]
fn problems_of_the_server_come_first_in_both_languages() {
    let weixin = Weixin::start();
    let (server, key) = served("status_server.toml", &weixin, "\"admin\"");
    let path = config("status_server.toml", &weixin.base, "broken = 1\n");
    signal(&server.child, "HUP");
    server.wait_until_it_says("the configuration was not reloaded");
    let ended = server.call(&key, &["status"]).run();
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (4, "problems of the server: 1\napps that need action: 0 of 1\n")
    );
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines[0], "server: reload");
    assert!(lines[1].starts_with("  the reload at 20") && lines[2].starts_with(APPID), "{}", ended.out);
    let chinese = server.call(&key, &["--lang", "zh", "status"]).run();
    assert!(
        chinese.out.starts_with("中控服务器：reload\n  20") && chinese.out.contains("的重新加载失败"),
        "{chinese:?}"
    );
    assert_eq!(chinese.err, "中控服务器的问题：1 个\n共 1 个应用，0 个需要处理\n");
    let json = server.call(&key, &["status", "--json"]).run().json();
    assert_eq!((&json[0]["server"]["kind"], &json[1]["appid"]), (&json!("reload"), &json!(APPID)));
    std::fs::remove_file(path).unwrap();
}

/// Both name what the messages of an app wait for, and the messages without a decision.
#[test]
fn waiting_and_undecided_messages_need_action() {
    let (weixin, _setup, server, key) = with_ledger("status_outbox.toml");
    let message = |words: &[&str]| server.call(&key, words).message("oUser", "c").run();
    weixin.fault(SEND, Fault::ResetAfterApply);
    let unknown = message(&["send", "--json"]);
    let id = unknown.json()[0]["id"].as_str().unwrap().to_owned();
    let said = format!("do not blindly repeat it; when you know, run `wxsub outbox decide {id}`\n");
    assert!(unknown.code == 5 && unknown.err.ends_with(&said), "{unknown:?}");
    assert_eq!(server.call(&key, &["outbox", "pause", "--note", "night"]).run().code, 0);
    assert_eq!(message(&["outbox", "add"]).code, 0);
    let status = server.call(&key, &["status"]).run();
    assert_eq!((status.code, status.err.as_str()), (4, "apps that need action: 1 of 1\n"), "{status:?}");
    assert_has(
        &status.out,
        &[
            "  queued messages: 1; the oldest has been due for ",
            "; they wait: paused\n  cause: ops has paused the app since 20",
            " (night); its messages wait until an operator resumes it\n",
            "  what to do: run `wxsub outbox resume --appid wx0123456789abcdef` when they may go on\n",
            "  cause: messages may have been sent and wait for a decision: 1\n",
            "  what to do: run `wxsub outbox list --appid wx0123456789abcdef --undecided`, then `wxsub outbox decide ID`",
        ],
    );
    let ended = doctor("oooooofs", 4, || server.call(&key, &["doctor"]));
    assert!(ended.out.contains("ok      ledger        the ledger takes messages\n"), "{ended:?}");
    assert!(ended.err.ends_with(&format!("start with: app {APPID}\n")), "{ended:?}");
    let json = &server.call(&key, &["status", "--json"]).run().json()[0];
    assert_eq!((&json["outbox"]["waiting_for"], &json["outbox"]["undecided"]), (&json!("paused"), &json!(1)));
}

/// A token works, so the app is ok, and its messages wait all the same: for how long, and how to go on at once.
#[test]
fn app_that_waits_for_its_daily_quota_needs_action() {
    let (weixin, _setup, server, key) = with_ledger("status_quota.toml");
    let message = |words: &[&str]| server.call(&key, words).message("oUser", "c").run();
    weixin.fault(SEND, Fault::ErrCode(ErrCode::DAILY_QUOTA));
    assert_eq!(message(&["send", "--json"]).code, 3);
    assert_eq!(message(&["outbox", "add"]).code, 0);
    let status = server.call(&key, &["status"]).run();
    assert_eq!((status.code, status.err.as_str()), (4, "apps that need action: 1 of 1\n"), "{status:?}");
    assert_has(
        &status.out,
        &[
            " ok, token, expires_in ",
            "  queued messages: 1; the oldest has been due for ",
            "; they wait: quota, until 20",
            "  cause: errcode 45009, the daily quota is used up; messages wait until 20",
            "T16:00:00Z, midnight in Beijing; one tries at 20",
            "  what to do: nothing if they may wait; else clear the app's quota in Weixin's console",
            "then run `wxsub outbox resume --appid wx0123456789abcdef`\n",
        ],
    );
    let chinese = server.call(&key, &["--lang", "zh", "status"]).run();
    assert!(
        chinese.out.contains("  排队的消息：1 条；") && chinese.out.contains("（北京时间零点）"),
        "{chinese:?}"
    );
    let json = &server.call(&key, &["status", "--json"]).run().json()[0];
    let problem = &json["problems"][0];
    assert_eq!((&problem["errcode"], &problem["remedy"]), (&json!(45009), &json!("slow_down")));
    assert_eq!((&json["outbox"]["queued"], &json["outbox"]["waiting_for"]), (&json!(1), &json!("quota")));
    assert!(json["outbox"]["next_probe_at"].is_string(), "{json}");
    doctor("oooooofs", 4, || server.call(&key, &["doctor"]));
    assert_eq!(server.call(&key, &["outbox", "resume"]).run().code, 0);
    let status = server.call(&key, &["status"]).run();
    assert_eq!((status.code, status.err.as_str()), (0, "apps that need action: 0 of 1\n"), "{status:?}");
}

/// The status is complete, and says first that the ledger is down.
#[test]
fn ledger_that_is_down_needs_action() {
    let weixin = Weixin::start();
    let ledger = "[ledger]\nurl = \"postgres://wxsub@127.0.0.1:1/shop\"\n";
    let server = Served::start(&config("status_ledger.toml", &weixin.base, ledger));
    server.token(KEY);
    let status = server.call(KEY, &["status"]).run();
    assert!(status.out.starts_with("server: ledger\n  the last commit to the ledger failed"), "{status:?}");
    status.said(4, "apps that need action: 0 of 1\n");
    doctor("oooofoos", 4, || server.call(KEY, &["doctor"]));
}

#[test]
fn wrong_secret_is_corrected_on_the_server() {
    let weixin = Weixin::start();
    weixin.sandbox.add_fault(CLASSIC_TOKEN, 99, Fault::ErrCode(ErrCode::INVALID_APPSECRET));
    let (server, key) = served("status_secret.toml", &weixin, "\"admin\"");
    let ended = server.call(&key, &["status"]).run();
    let advice =
        format!("write the new AppSecret of {APPID} into the file of secret_file on the server, and reload");
    ended.printed(3, &advice);
}

/// Such as a proxy that does not forward the path.
#[test]
fn not_found_of_another_program_is_no_server_without_a_ledger() {
    let base = program(|head, _| match head {
        _ if head.starts_with("GET /v1/apps ") => (200, "{\"apps\":[]}".to_owned()),
        _ => (404, "<html>".to_owned()),
    });
    let ended = wxsub(&["status"]).through(&base, KEY).run();
    ended
        .said(4, "what to do: check that WXSUB_SERVER is the base URL")
        .says("apps that need action: 0 of 0\n");
}

#[test]
fn status_says_what_the_key_lacks() {
    let weixin = Weixin::start();
    let (server, key) = served("status_scope.toml", &weixin, "\"token:read\"");
    let ended = server.call(&key, &["status"]).run();
    ended.said(4, "the request needs admin");
    let unknown = "x".repeat(43);
    let ended = server.call(&unknown, &["status"]).run();
    ended.said(4, "responded with 401");
    let ended = wxsub(&["status"]).through(UNUSED_BASE, &key).run();
    ended.said(4, "it is safe to try again");
    // The address of Weixin instead of the server's.
    let ended = wxsub(&["status"]).through(&weixin.base, &key).run();
    ended.said(4, "what to do: check that WXSUB_SERVER is the base URL");
    // Without a server, the AppSecret is not in its way.
    let ended = wxsub(&["status"]).env("WXSUB_SECRET", "s").run();
    assert_eq!(ended.err.lines().count(), 2, "{ended:?}");
    wxsub(&["status"]).run().assert_wrong(&["WXSUB_SERVER: is not set", "WXSUB_KEY: is not set"]);
}

/// Asserts the outcomes of doctor, by their first letters, and its exit code. Returns its text.
fn doctor(outcomes: &str, code: i32, call: impl Fn() -> Wxsub) -> Ended {
    let found = Found::of_checks(&CHECKS, call);
    assert_eq!((found.outcomes().as_str(), found.plain.code), (outcomes, code), "{:?}", found.plain);
    found.plain
}

#[test]
fn doctor_checks_the_server_key_and_app() {
    let weixin = Weixin::start();
    for (name, scopes, outcomes) in [
        ("doctor_admin.toml", "\"admin\"", "oooosoos"),
        ("doctor_read.toml", "\"token:read\"", "oooosoos"),
        // A key that can only send cannot see the state.
        ("doctor_send.toml", "\"message:send\"", "oooososs"),
    ] {
        let (server, key) = served(name, &weixin, scopes);
        doctor(outcomes, 0, || server.call(&key, &["doctor"]));
    }
    let (server, key) = served("doctor_zh.toml", &weixin, "\"message:send\"");
    let chinese = server.call(&key, &["--lang", "zh", "doctor"]).run();
    chinese.printed(0, "中控服务器返回状态码 403：没有权限");
}

#[test]
fn doctor_finds_what_is_wrong_with_server_key_or_app() {
    let weixin = Weixin::start();
    let (server, key) = served("doctor_wrong.toml", &weixin, "\"admin\"");
    doctor("oofsssss", 4, || wxsub(&["doctor"]).through(UNUSED_BASE, &key));
    // The address of Weixin instead of the server's.
    doctor("ooofssss", 4, || wxsub(&["doctor"]).through(&weixin.base, &key))
        .printed(4, "the response is not from a control server");
    let unknown = "x".repeat(43);
    doctor("oooosfss", 4, || server.call(&unknown, &["doctor"])).printed(4, "what to do: check WXSUB_KEY");
    doctor("oooosofs", 4, || server.call(&key, &["doctor", "--appid", "wx9"]))
        .printed(4, &format!("the key may use: {APPID}; what to do: correct the AppID"));
    doctor("fsssssss", 2, || server.call(&key, &["doctor", "--fetch"]));
}

#[test]
fn doctor_without_an_appid_checks_all_apps_of_the_key() {
    let weixin = Weixin::start();
    let (server, key) = served("doctor_all.toml", &weixin, "\"admin\"");
    let all = |key: &str| server.call(key, &["doctor"]).without("WXSUB_APPID");
    doctor("oooosoos", 0, || all(&key))
        .printed(0, "all apps, control server at ")
        .printed(0, &format!("{APPID} has an access_token"));
    // Without the scope admin the key cannot list them. The server says which ones the key may use.
    let (server, key) = served("doctor_list.toml", &weixin, "\"token:read\"");
    let all = |key: &str| server.call(key, &["doctor"]).without("WXSUB_APPID");
    doctor("oooososs", 0, || all(&key)).printed(0, "name one with --appid");
    let ended = Found::of_checks(&CHECKS, || server.call(&key, &["doctor", "--appid", "wx9"])).plain;
    assert!(ended.out.contains(&format!("this key may use {APPID}")), "{ended:?}");
}

/// Without the scope admin, the readiness has it.
#[test]
fn doctor_says_that_the_next_token_cannot_be_fetched() {
    let weixin = Weixin::start();
    let (server, key) = served("doctor_degraded.toml", &weixin, "\"token:read\", \"token:report\"");
    let examine = || server.call(&key, &["doctor"]);
    doctor("oooosoos", 0, examine);
    weixin.block_address();
    server.call(&key, &["token", "refresh"]).run().said(3, "40164");
    doctor("oooosofs", 4, examine).printed(4, "the server cannot fetch the next one");
}

#[test]
fn doctor_says_what_weixin_refused_the_server() {
    for scopes in ["\"admin\"", "\"token:read\""] {
        let weixin = Weixin::start();
        weixin.block_address();
        let (server, key) = served("doctor_refused.toml", &weixin, scopes);
        doctor("oooosofs", 3, || server.call(&key, &["doctor"]))
            .printed(3, "what to do: add 127.0.0.1 to the app's IP allow-list");
        let chinese = server.call(&key, &["doctor"]).env("LANG", "zh_CN").run();
        assert!(chinese.out.contains("处理建议：请在微信后台把 127.0.0.1 加入"), "{chinese:?}");
    }
}
