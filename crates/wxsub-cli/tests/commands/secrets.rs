//! Secrets are not printed at any log level.

use serde_json::Value;
use wxsub_proto::ErrCode;
use wxsub_sandbox::Fault;

use super::served::{Served, ask};
use super::weixin::{APPID, CLASSIC_TOKEN, SECRET, SEND, STABLE_TOKEN, UNUSED_BASE, Weixin, line};
use super::wxsub::{Wxsub, assert_has, wxsub};

/// Asserts that no line has a secret or a query.
fn assert_no_secret(printed: &str, secrets: &[String]) {
    for secret in secrets.iter().map(String::as_str).chain(["secret=", "access_token="]) {
        assert_eq!(printed.lines().find(|line| line.contains(secret)), None);
    }
}

/// What Weixin does wrong, if anything.
const FAULTS: [Option<Fault>; 4] = [
    None,
    Some(Fault::ResetAfterApply),
    Some(Fault::Html),
    Some(Fault::ErrCode(ErrCode::INVALID_CREDENTIAL)),
];

#[test]
fn commands_print_no_secret() {
    let weixin = Weixin::start();
    let mut secrets = vec![SECRET.to_owned()];
    let mut printed = String::new();
    let mut watch = |call: Wxsub| {
        let ended = call.env("RUST_LOG", "trace").run();
        printed += &format!("{}{}", ended.out, ended.err);
    };
    for endpoint in ["stable_token", "token"] {
        let on = |call: Wxsub| call.env("WXSUB_TOKEN_ENDPOINT", endpoint);
        for fault in FAULTS {
            for path in [SEND, STABLE_TOKEN, CLASSIC_TOKEN] {
                weixin.sandbox.clear_faults();
                fault.map(|fault| weixin.fault(path, fault));
                watch(on(weixin.allow("oUser", 7).send("oUser", "7")));
            }
        }
        weixin.sandbox.clear_faults();
        watch(on(weixin.call(&["send", "--file", "-"]).input(line("oUser", 8, "Hello"))));
        watch(on(weixin.call(&["token", "show", "--fetch"])));
        watch(on(weixin.call(&["token", "refresh", "--json"])));
        watch(on(weixin.call(&["doctor", "--fetch"])));
        let revealed = on(weixin.call(&["token", "show", "--fetch", "--json", "--reveal"])).run();
        secrets.push(revealed.json()[0]["access_token"].as_str().unwrap().to_owned());
    }
    watch(weixin.send("oUser", "7").env("WXSUB_SECRET", &format!("{SECRET}-wrong")));
    watch(weixin.send("oUser", "7").env("WXSUB_SECRET_FILE", "x"));
    watch(weixin.call(&["doctor", "--json"]).env("WXSUB_SECRET", &format!("{SECRET}-wrong")));
    assert_has(&printed, &["TRACE", "127.0.0.1"]);
    assert_no_secret(&printed, &secrets);
}

/// The output of a server with all events: standard error, metrics, documents and errors.
#[test]
fn server_prints_no_secret() {
    let audit = "audit = \"stderr\"\n";
    let (weixin, server, key) =
        Served::before_sandbox_by("secrets", audit, |call| call.env("RUST_LOG", "trace"));
    let address = server.address().to_owned();
    let mut printed = String::new();
    let mut secrets = vec![SECRET.to_owned(), key.clone(), "oUser".to_owned()];
    let app = format!("/v1/apps/{APPID}");
    for fault in FAULTS {
        let (_, body) = ask(&address, "GET", &format!("{app}/access_token"), &key, b"").unwrap();
        let token = serde_json::from_str::<Value>(&body).unwrap()["access_token"].as_str().map(str::to_owned);
        let token = token.unwrap_or_else(|| secrets.last().unwrap().clone());
        secrets.push(token.clone());
        fault.map(|fault| weixin.fault(SEND, fault));
        weixin.allow("oUser", 7);
        let message = line("oUser", 7, "Hello");
        let classic = format!("{CLASSIC_TOKEN}?grant_type=client_credential&appid={APPID}");
        for (method, path, body) in [
            ("POST", format!("{SEND}?access_token={token}"), message.clone()),
            ("POST", format!("{app}/access_token/report"), format!("{{\"access_token\":\"{token}x\"}}")),
            ("GET", format!("{classic}&secret={key}x"), String::new()),
            ("GET", "/v1/apps".to_owned(), String::new()),
            ("GET", "/metrics".to_owned(), String::new()),
            ("GET", "/openapi.json".to_owned(), String::new()),
            ("GET", "/readyz".to_owned(), String::new()),
        ] {
            let response = ask(&address, method, &path, &key, body.as_bytes()).unwrap().1;
            if !path.ends_with("report") {
                printed += &response;
            }
        }
        ask(&address, "GET", &format!("{classic}&secret={key}"), "", b"").unwrap();
    }
    printed += &server.stop_and_read("TERM").1;
    assert_has(&printed, &["TRACE", "\"action\":\"send\""]);
    assert_no_secret(&printed, &secrets);
}

/// A client of a server has a key and the tokens of the server to protect.
#[test]
fn client_of_a_server_prints_no_secret() {
    let (weixin, server, key) = Served::before_sandbox("secrets_through", "");
    let first = server.token(&key)["access_token"].as_str().unwrap().to_owned();
    let mut printed = String::new();
    let watch = |call: Wxsub, base: &str| {
        let ended = call.through(base, &key).env("RUST_LOG", "trace").run();
        format!("{}{}", ended.out, ended.err)
    };
    for base in [server.base.as_str(), weixin.base.as_str(), UNUSED_BASE] {
        printed += &watch(wxsub(&["send", "--file", "-"]).input(line("oUser", 8, "Hello")), base);
        for what in ["show", "refresh"] {
            printed += &watch(wxsub(&["token", what, "--json"]), base);
        }
    }
    let last = server.token(&key)["access_token"].as_str().unwrap().to_owned();
    assert_has(&printed, &["TRACE", "127.0.0.1"]);
    assert_no_secret(&printed, &[SECRET.to_owned(), key, first, last]);
}
