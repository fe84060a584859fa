//! `wxsub doctor`. It never invalidates the production token.

use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::ErrCode;
use wxsub_proto::endpoint::domain_ip::PATH as PROBE;
use wxsub_sandbox::Fault;

use super::weixin::{CLASSIC_TOKEN, STABLE_TOKEN, UNUSED_BASE, Weixin};
use super::wxsub::{Ended, Wxsub, wxsub};

const CHECKS: [&str; 9] =
    ["configuration", "dns", "connection", "weixin", "clock", "address", "secret", "token", "quota"];

/// The result as text and as JSON.
pub(super) struct Found {
    pub(super) plain: Ended,
    checks: Vec<Value>,
}

impl Found {
    fn of(call: impl Fn() -> Wxsub) -> Self {
        Self::of_checks(&CHECKS, call)
    }

    /// The result of these checks.
    pub(super) fn of_checks(expected: &[&str], call: impl Fn() -> Wxsub) -> Self {
        let (plain, json) = (call().run(), call().args(&["--json"]).run());
        assert_eq!(plain.code, json.code);
        assert!(!format!("{plain:?}{json:?}").contains("PLANTED"), "{plain:?}");
        let found = Self { plain, checks: json.json() };
        let names: Vec<_> = found.checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
        assert_eq!(found.plain.out.lines().count(), expected.len());
        found
    }

    /// The first letters of the outcomes, in the order of the checks.
    pub(super) fn outcomes(&self) -> String {
        self.checks.iter().map(|check| check["outcome"].as_str().unwrap().chars().next().unwrap()).collect()
    }

    /// Asserts that this check failed first, with this cause and remedy.
    fn assert_failed(&self, code: i32, check: &str, cause: &str, to_do: &str) -> &Value {
        assert_eq!(self.plain.code, code, "{}", self.plain.out);
        let failed = self.checks.iter().find(|found| found["outcome"] == "failed").unwrap();
        assert_eq!(failed["check"], check);
        let (detail, advice) = (failed["detail"].as_str().unwrap(), failed["advice"].as_str().unwrap());
        assert!(detail.contains(cause), "{cause:?} is not in {detail}");
        assert!(advice.contains(to_do), "{to_do:?} is not in {advice}");
        let line = self.plain.out.lines().find(|line| line.starts_with("failed")).unwrap();
        for said in [check, cause, "; what to do: ", to_do] {
            assert!(line.contains(said), "{said:?} is not in {line}");
        }
        assert!(self.plain.err.ends_with(&format!("start with: {check}\n")), "{}", self.plain.err);
        failed
    }
}

impl Weixin {
    fn examined(&self) -> Found {
        Found::of(|| self.call(&["doctor"]))
    }

    /// Adds a fault twice, because each case runs as text and as JSON.
    fn fault_twice(&self, path: &str, fault: Fault) -> &Self {
        self.sandbox.add_fault(path, 2, fault);
        self
    }
}

#[test]
fn healthy_setup_passes_all_checks() {
    let weixin = Weixin::start();
    let found = weixin.examined();
    assert_eq!((found.plain.code, found.outcomes().as_str()), (0, "ooooooooo"), "{}", found.plain.out);
    assert_eq!(found.plain.err, "no problem found\n");
    assert_eq!(found.checks[1]["detail"], "127.0.0.1 is an IP address");
    assert_eq!(
        found.checks[8],
        json!({"check": "quota", "outcome": "ok", "detail": "100000 of 100000 sends are left today"})
    );
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (0, 2));
}

#[test]
fn wrong_secret_is_found() {
    let weixin = Weixin::start();
    let found = Found::of(|| weixin.call(&["doctor"]).env("WXSUB_SECRET", "PLANTED-wrong"));
    let failed = found.assert_failed(
        3,
        "secret",
        "the AppSecret is wrong",
        "update the AppSecret of wx0123456789abcdef (read from WXSUB_SECRET)",
    );
    assert_eq!((&failed["errcode"], &failed["remedy"]), (&json!(40125), &json!("fix_config")));
    assert!(failed["rid"].is_string());
    assert_eq!(found.outcomes(), "ooooosfss");
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 0);
}

#[test]
fn address_not_allowed_is_found() {
    let weixin = Weixin::start();
    let found = weixin.block_address().examined();
    let failed = found.assert_failed(
        3,
        "address",
        "; Weixin sees this machine as 127.0.0.1 (",
        "add 127.0.0.1 to the app's IP allow-list in Weixin's console",
    );
    assert_eq!((&failed["ip"], &failed["remedy"]), (&json!("127.0.0.1"), &json!("allow_ip")));
    assert_eq!(found.outcomes(), "ooooofsss");
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 0);
}

#[test]
fn frozen_secret_is_found() {
    let weixin = Weixin::start();
    let found = weixin.set(|app| app.frozen = true).examined();
    let failed = found.assert_failed(
        3,
        "secret",
        "the AppSecret is frozen",
        "unfreeze the AppSecret in Weixin's console, then wait ten minutes",
    );
    assert_eq!(failed["errcode"], 40243);
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 0);
}

#[test]
fn used_up_quota_is_found() {
    let weixin = Weixin::start();
    // Refused because of the grant, but counted in the quota.
    weixin.set(|app| app.send_quota = 1).send("oUser", "7").run();
    let found = weixin.examined();
    let failed =
        found.assert_failed(3, "quota", "today's 1 sends are used up", "wait until midnight in Beijing");
    assert_eq!(failed["remedy"], "slow_down");
    assert_eq!(found.outcomes(), "oooooooof");
    // Token calls have a separate quota.
    let found = weixin.fault_twice(STABLE_TOKEN, Fault::ErrCode(ErrCode::DAILY_QUOTA)).examined();
    let failed =
        found.assert_failed(3, "quota", "the daily quota of token calls is used up", "wait until midnight");
    assert_eq!(failed["errcode"], 45009);
    assert_eq!(found.outcomes(), "ooooosssf");
    let found = weixin.fault_twice(STABLE_TOKEN, Fault::ErrCode(ErrCode::MINUTE_QUOTA)).examined();
    found.assert_failed(3, "quota", "too many calls within a minute", "wait a minute");
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 0);
}

#[test]
fn clock_skew_is_found() {
    let weixin = Weixin::start();
    weixin.sandbox.advance(Duration::from_secs(3660));
    let found = weixin.examined();
    found.assert_failed(2, "clock", "this machine's clock is 1 h ", "set the clock, preferably with NTP");
    assert!(found.plain.out.contains("behind Weixin's"));
    // All other checks run all the same.
    assert_eq!(found.outcomes(), "oooofoooo");
    let found = Found::of(|| weixin.call(&["doctor"]).env("WXSUB_SECRET", "PLANTED-wrong"));
    assert_eq!((found.plain.code, found.outcomes().as_str()), (2, "oooofsfss"));
    assert!(found.plain.out.ends_with("quota         correct secret first\n"), "{}", found.plain.out);
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 0);
}

#[test]
fn unresolvable_host_is_found() {
    let weixin = Weixin::start();
    let found = Found::of(|| {
        let call = weixin.call(&["doctor"]).env("WXSUB_API_BASE", "http://weixin.invalid");
        call.env("WXSUB_ALLOW_HTTP", "1")
    });
    found.assert_failed(
        4,
        "dns",
        "the host name weixin.invalid could not be resolved",
        "check the spelling of WXSUB_API_BASE",
    );
    assert_eq!(found.outcomes(), "ofsssssss");
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn every_host_is_checked() {
    let weixin = Weixin::start();
    let localhost = weixin.base.replace("127.0.0.1", "localhost");
    for (second, outcomes) in [
        ("http://weixin.invalid", "ofsssssss"),
        (UNUSED_BASE, "oofssssss"),
        (localhost.as_str(), "ooooooooo"),
    ] {
        let hosts = format!("{},{second}", weixin.base);
        let found = Found::of(|| {
            let call = weixin.call(&["doctor"]).env("WXSUB_API_BASE", &hosts);
            call.env("WXSUB_ALLOW_HTTP", "1")
        });
        assert_eq!(found.outcomes(), outcomes, "{hosts}: {}", found.plain.out);
    }
}

#[test]
fn captive_portal_is_found_without_showing_the_secret() {
    let weixin = Weixin::start();
    let found = weixin.fault_twice(PROBE, Fault::Html).examined();
    found.assert_failed(
        4,
        "weixin",
        "the response is not from Weixin: a web page",
        "if this network requires a sign-in, sign in with a browser",
    );
    assert_eq!(found.outcomes(), "ooofsssss");
    let chinese = weixin.fault(PROBE, Fault::Html).call(&["--lang", "zh", "doctor"]).run();
    chinese.printed(4, "响应不是来自微信：响应是网页而不是 JSON");
    // The secret was not sent to the portal.
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (0, 0));
    let found = weixin.fault_twice(PROBE, Fault::Status(502)).examined();
    found.assert_failed(
        4,
        "weixin",
        "the response is not from Weixin: HTTP status 502",
        "proxy and firewall",
    );
}

#[test]
fn connection_refused_is_found() {
    let found = Found::of(|| super::weixin::pointed_at(UNUSED_BASE, wxsub(&["doctor"])));
    found.assert_failed(4, "connection", "no connection", "check whether a firewall blocks");
    assert_eq!(found.outcomes(), "oofssssss");
    let weixin = Weixin::start();
    let found = weixin.fault_twice(STABLE_TOKEN, Fault::ResetAfterApply).examined();
    found.assert_failed(4, "token", "the connection broke", "find out which program responds at 127.0.0.1");
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 0);
}

#[test]
fn all_configuration_problems_are_named() {
    let weixin = Weixin::start();
    let found = Found::of(|| {
        weixin
            .call(&["doctor"])
            .without("WXSUB_SECRET")
            .env("WXSUB_SECRET_FILE", "/nonexistent")
            .env("WXSUB_APPID", "w x")
    });
    found.assert_failed(2, "configuration", "WXSUB_APPID: ", "correct it");
    found.assert_failed(2, "configuration", "WXSUB_SECRET_FILE: names a file that cannot be read", "");
    assert_eq!((found.outcomes().as_str(), weixin.seen_any()), ("fssssssss", 0));
}

#[test]
fn invalid_token_is_found() {
    let weixin = Weixin::start();
    // The first call for the addresses has no token, the second has one.
    let call = || weixin.call(&["doctor"]);
    let refuse = Fault::ErrCode(ErrCode::INVALID_CREDENTIAL);
    let found = Found::of(|| {
        weixin.sandbox.add_fault(PROBE, 1, Fault::Delay(Duration::ZERO));
        weixin.sandbox.add_fault(PROBE, 1, refuse);
        call()
    });
    found.assert_failed(3, "token", "the access token is not this app's latest", "find the other program");
    assert_eq!(found.outcomes(), "ooooooofs");
    // A check that cannot run is no failure.
    let found = weixin
        .fault_twice("/cgi-bin/openapi/quota/get", Fault::ErrCode(ErrCode::API_UNAUTHORIZED))
        .examined();
    assert_eq!((found.plain.code, found.outcomes().as_str()), (0, "oooooooos"));
    assert!(found.plain.out.contains("Weixin does not report the quota: errcode 48001"));
}

#[test]
fn classic_endpoint_is_called_only_on_demand() {
    let weixin = Weixin::start();
    let call = || weixin.call(&["doctor"]).env("WXSUB_TOKEN_ENDPOINT", "token");
    let found = Found::of(call);
    assert_eq!(found.plain.code, 0);
    assert!(found.plain.out.contains("/cgi-bin/token was not called"), "{}", found.plain.out);
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (0, 2));
    let found = Found::of(|| call().args(&["--fetch"]));
    assert!(
        found.plain.err.starts_with("warning: a fetch from /cgi-bin/token invalidates"),
        "{}",
        found.plain.err
    );
    assert!(found.plain.out.contains("a token from token works"), "{}", found.plain.out);
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (2, 2));
    // Without a reason to call that endpoint, --fetch changes nothing.
    assert_eq!(weixin.call(&["doctor", "--fetch"]).run().code, 0);
    assert_eq!((weixin.seen(CLASSIC_TOKEN), weixin.seen(STABLE_TOKEN)), (2, 3));
}

#[test]
fn names_are_not_resolved_with_a_proxy() {
    // The sandbox is the proxy, so it gets all requests.
    let weixin = Weixin::start();
    weixin.sandbox.allow_host("weixin.invalid").unwrap();
    let found = Found::of(|| {
        let call = weixin.call(&["doctor"]).env("WXSUB_API_BASE", "http://weixin.invalid");
        call.env("WXSUB_ALLOW_HTTP", "1").env("WXSUB_PROXY", &weixin.base)
    });
    assert_eq!((found.plain.code, found.outcomes().as_str()), (0, "osooooooo"), "{}", found.plain.out);
}
