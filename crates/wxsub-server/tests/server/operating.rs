//! The alerts and the dashboard of `docs/operating` match the exported metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::absolute;
use std::time::Duration;

use serde_json::json;
use tempfile::{NamedTempFile, tempdir};
use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::ErrCode;
use wxsub_core::rfc3339;
use wxsub_sandbox::Fault;

use super::outbox::{enqueue, later, ledger_config};
use super::setup::{
    ALL, APPS, SECRET, SEND, Setup, TOKEN, client, config_with_audit, has, key, message, read_config, usual,
};
use super::webhooks::endpoint;
use super::{test_ledger, tls};

const ALERTS: &str = include_str!("../../../../docs/operating/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../../../docs/operating/alerts.test.yml");
const EXAMPLE: &str = include_str!("../../../../docs/operating/wxsub.toml");
const NGINX: &str = include_str!("../../../../docs/operating/nginx.conf");
const DASHBOARD: &str = include_str!("../../../../docs/operating/dashboard.json");

/// All metrics in the text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("wxsub_")).collect()
}

fn millis(time: &serde_json::Value) -> u128 {
    rfc3339::parse(time.as_str().unwrap()).unwrap().get().into()
}

/// The exported metrics after all counted events.
async fn exported() -> String {
    let (certificate, key) = tls::localhost();
    let tls = tls::lines("operating", &certificate, &key);
    let more = ledger_config() + &endpoint("shop.example", "");
    let (setup, _ledger) = Setup::with_ledger_and(config_with_audit(&format!("\"off\"\n{tls}"), &more)).await;
    let token = setup.token().await.access_token();
    setup.report(&token).await;
    setup.pass(400).await;
    setup.invalidate_tokens();
    setup.send(message("oUser", 1)).await;
    let keyed = [("Idempotency-Key", "k")];
    let queued = enqueue(&setup, &keyed, message("oUser", 1)).await;
    setup.until_state(&queued, "refused").await;
    enqueue(&setup, &keyed, message("oUser", 1)).await;
    setup.metrics().await
}

#[tokio::test]
async fn alerts_use_exported_metrics_and_the_dashboard_has_all() {
    let metrics = exported().await;
    let exported = |name: &str| {
        metrics.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
    };
    for (file, text) in [("alerts", ALERTS), ("alerts.test", ALERTS_TEST), ("dashboard", DASHBOARD)] {
        let watched = named(text);
        assert!(watched.len() > 7, "{watched:?}");
        for name in watched {
            assert!(exported(name), "{file} watches {name}, which is not exported:\n{metrics}");
        }
    }
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for family in families {
        assert!(DASHBOARD.contains(family), "{family} is not on the dashboard");
    }
}

/// `increase()` misses the first event of a counter that does not exist before it.
#[tokio::test]
async fn counters_start_at_0() {
    let setup = Setup::new(&usual()).await;
    let series = [
        "wxsub_token_external_invalidations_total{appid=\"wx1\"} 0",
        "wxsub_token_fetches_total{appid=\"wx1\",result=\"issued\"} 0",
        "wxsub_token_fetches_total{appid=\"wx1\",result=\"adopted\"} 0",
        "wxsub_token_fetches_total{appid=\"wx1\",result=\"unchanged\"} 0",
        "wxsub_token_fetches_total{appid=\"wx1\",result=\"without_lease\"} 0",
        "wxsub_token_fetches_total{appid=\"wx1\",result=\"failed\"} 0",
        "wxsub_token_reports_total{appid=\"wx1\",result=\"ok\"} 0",
        "wxsub_token_reports_total{appid=\"wx1\",result=\"no_token\"} 0",
        "wxsub_token_reports_total{appid=\"wx1\",result=\"rate_limited\"} 0",
        "wxsub_sends_total{appid=\"wx1\",client=\"a\",outcome=\"maybe_sent\"} 0",
        "wxsub_sends_total{appid=\"wx1\",client=\"\",outcome=\"maybe_sent\"} 0",
        "wxsub_audit_failures_total 0",
    ];
    setup.assert_metrics(&series).await;
}

#[tokio::test]
async fn metrics_tell_apis_and_unknown_codes_apart() {
    let setup = Setup::new(&usual()).await;
    setup.token().await;
    for _ in 0..2 {
        setup.classic(&key('a')).await;
    }
    for errcode in [48001, 123_456] {
        setup.sandbox.add_fault(SEND, 1, Fault::ErrCode(ErrCode::new(errcode)));
        setup.send(message("oUser", 1)).await;
    }
    let series = [
        "wxsub_token_reads_total{api=\"v1\"} 1",
        "wxsub_token_reads_total{api=\"weixin\"} 2",
        "wxsub_token_store_up{appid=\"wx1\"} 1",
        "wxsub_refusals_total{appid=\"wx1\",errcode=\"48001\"} 1",
        "wxsub_refusals_total{appid=\"wx1\",errcode=\"other\"} 1",
        "wxsub_sends_total{appid=\"wx1\",client=\"a\",outcome=\"refused\"} 2",
        "wxsub_http_request_duration_seconds_count{route=\"/v1/apps/{appid}/messages\",status=\"422\"} 2",
        "wxsub_http_request_duration_seconds_count{route=\"/cgi-bin/token\",status=\"200\"} 2",
    ];
    setup.assert_metrics(&series).await;
}

/// Each message counts once: when its outcome is known, and not again when it is decided.
#[tokio::test]
async fn outcomes_of_the_outbox_are_counted_once() {
    let (setup, _ledger) =
        Setup::with_ledger(&format!("maybe_sent = \"give_up\"\n{}", ledger_config())).await;
    let queued = enqueue(&setup, &[], message("oUser", 1)).await;
    setup.until_state(&queued, "refused").await;
    assert_eq!(setup.send(message("oUser", 1)).await.status, 422);
    setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
    let key = key('a');
    let lost = setup.ask("POST", "/v1/apps/wx2/messages", Some(&key), message("oUser", 1));
    assert_eq!(setup.meanwhile(lost).await.status, 504);
    setup.pass(200).await;
    let decided = setup.get("/v1/apps/wx2/outbox?state=maybe_sent", &key).await;
    assert_eq!(decided.json()["messages"][0]["decision"], "give_up", "{decided:?}");
    let series = [
        "wxsub_refusals_total{appid=\"wx1\",errcode=\"43101\"} 2",
        "wxsub_outbox_settled_total{appid=\"wx1\",outcome=\"refused\"} 2",
        "wxsub_outbox_settled_total{appid=\"wx2\",outcome=\"refused\"} 0",
        "wxsub_outbox_settled_total{appid=\"wx2\",outcome=\"maybe_sent\"} 1",
    ];
    setup.assert_metrics(&series).await;
}

/// After a lost response the token is in doubt, and the failure is shown until it is over.
#[tokio::test]
async fn failing_and_in_doubt_app_is_shown() {
    let setup = Setup::new(&client('a', "\"wx1\"", &format!("{ALL}, \"admin\""))).await;
    setup.token().await;
    let failing_from = setup.sandbox.now().as_millis();
    setup.sandbox.add_fault(TOKEN, 100_000, Fault::ResetAfterApply);
    setup.pass(4500).await;
    let app = setup.app().await;
    has(&app, &json!({"state": "degraded", "in_doubt": true, "error": {"remedy": "retry_later"}}));
    let since = millis(&app["error"]["since"]);
    assert!((failing_from..failing_from + 4_500_000).contains(&since), "{app}");
    let failed = "wxsub_token_fetches_total{appid=\"wx1\",result=\"failed\"}";
    setup.assert_metrics(&["wxsub_token_in_doubt{appid=\"wx1\"} 1", failed]).await;
    setup.sandbox.clear_faults();
    setup.pass(400).await;
    has(&setup.app().await, &json!({"state": "ok", "in_doubt": false, "error": null}));
    // The next failure has its own time.
    let failing_again_from = setup.sandbox.now().as_millis();
    setup.sandbox.add_fault(TOKEN, 100_000, Fault::ResetBeforeApply);
    setup.pass(4500).await;
    let app = setup.app().await;
    assert!(millis(&app["error"]["since"]) > failing_again_from, "{app}");
}

#[tokio::test]
async fn refused_app_is_down_with_errcode_and_rid() {
    let setup = Setup::new(&client('a', "\"wx1\"", &format!("{ALL}, \"admin\""))).await;
    setup.configure(|settings| settings.allowed_ips = Some(vec!["192.0.2.1".parse().unwrap()]));
    setup.token().await;
    let app = setup.app().await;
    let error = json!({"errcode": 40164, "remedy": "allow_ip"});
    has(&app, &json!({"state": "down", "error": error, "expires_in": null, "generation": null}));
    let error = &app["error"];
    assert!(error["text"].as_str().unwrap().contains(error["ip"].as_str().unwrap()), "{app}");
    assert!(error["rid"].is_string() && error["text"].as_str().unwrap().contains("40164"), "{app}");
}

#[tokio::test]
async fn draining_server_is_not_ready_but_alive() {
    let setup = Setup::new(&usual()).await;
    setup.token().await;
    setup.stop().await;
    setup.ask("GET", "/readyz", None, "").await.has(503, &json!({"status": "draining"}));
    let alive = setup.ask("GET", "/livez", None, "").await;
    assert_eq!((alive.status, alive.text.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn broken_state_file_is_shown() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("wx1.json"), "{").unwrap();
    let audit = format!("\"off\"\nstate_dir = {:?}", folder.path());
    let setup = Setup::with_own_store(config_with_audit(&audit, &client('a', "\"*\"", "\"admin\""))).await;
    let apps = setup.get("/v1/apps", &key('a')).await;
    apps.has(200, &json!({"apps": [{"state_file_broken": true}, {"state_file_broken": null}]}));
}

/// The token's response, the list of apps and the metric say for how long a client may cache the token.
#[tokio::test]
async fn expires_in_has_one_meaning() {
    let setup = Setup::new(&client('a', "\"wx1\"", &format!("{ALL}, \"admin\""))).await;
    setup.token().await;
    setup.pass(100).await;
    let served = setup.token().await.json()["expires_in"].as_u64().unwrap();
    // The next fetch invalidates the token long before its lifetime ends.
    assert!((1..5000).contains(&served), "{served}");
    assert_eq!(setup.app().await["expires_in"], served);
    setup.assert_metrics(&[&format!("wxsub_token_expires_in_seconds{{appid=\"wx1\"}} {served}")]).await;
}

/// A refused token call counts once, no matter how many messages wait for it, and once more for the next call.
#[tokio::test]
async fn each_refusal_counts_once_for_its_app() {
    let setup = Setup::new(&usual()).await;
    setup.sandbox.add_fault(TOKEN, 1, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
    let (one, other) = (setup.send(message("oUser", 1)), setup.send(message("oUser", 2)));
    let (one, other) = tokio::join!(one, other);
    assert_eq!((one.status, other.status), (503, 503));
    let series = [
        "wxsub_refusals_total{appid=\"wx1\",errcode=\"40164\"} 1",
        "wxsub_sends_total{appid=\"wx1\",client=\"a\",outcome=\"not_sent\"} 2",
    ];
    setup.assert_metrics(&series).await;
}

/// A lost response may have invalidated the token. It works for five more minutes, so the metric says so at once.
#[tokio::test]
async fn lost_response_is_shown_before_the_token_can_become_invalid() {
    let setup = Setup::new(&client('a', "\"wx1\"", &format!("{ALL}, \"admin\""))).await;
    setup.token().await;
    setup.sandbox.add_fault(TOKEN, 100_000, Fault::ResetAfterApply);
    let fetches = setup.seen(TOKEN);
    while setup.seen(TOKEN) == fetches {
        setup.pass(1).await;
    }
    let now = setup.sandbox.now().as_secs();
    let metrics = setup.metrics().await;
    let name = "wxsub_token_in_doubt_from_timestamp_seconds{appid=\"wx1\"} ";
    let from: u64 = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    assert!((now + 200..=now + 240).contains(&from), "{from} at {now}");
    assert!(metrics.contains("wxsub_token_in_doubt{appid=\"wx1\"} 0"), "{metrics}");
    let app = setup.app().await;
    has(&app, &json!({"state": "degraded", "in_doubt": false}));
    assert!(app["in_doubt_from"].as_str().unwrap().ends_with('Z'), "{app}");
    setup.sandbox.clear_faults();
    setup.pass(60).await;
    setup.assert_metrics(&[&format!("{name}0")]).await;
}

/// The largest body is a batch of messages.
#[tokio::test]
async fn nginx_takes_every_body_that_the_server_takes() {
    let (setup, _ledger) = Setup::with_ledger(&ledger_config()).await;
    let size = NGINX.split("client_max_body_size ").nth(1).unwrap().split(';').next().unwrap();
    let bytes = match size.split_at(size.len() - 1) {
        (number, "k") => number.parse::<usize>().unwrap() << 10,
        (number, "m") => number.parse::<usize>().unwrap() << 20,
        _ => panic!("{size}"),
    };
    for (bytes, is_too_large) in [(bytes, false), (bytes + 1, true)] {
        let media = ("Content-Type", "application/x-ndjson");
        let response = enqueue(&setup, &[media], "\n".repeat(bytes)).await;
        assert_eq!(response.status == 413, is_too_large, "{bytes}: {response:?}");
    }
}

/// A full disk, a removed folder or a Redis that is down.
#[tokio::test]
async fn unavailable_store_is_shown() {
    let folder = tempdir().unwrap().keep();
    let keys = client('a', "\"wx1\"", &format!("{ALL}, \"admin\""));
    let setup =
        Setup::with_own_store(config_with_audit(&format!("\"off\"\nstate_dir = {folder:?}"), &keys)).await;
    fs::remove_dir_all(&folder).unwrap();
    setup.token().await;
    let app = setup.app().await;
    has(&app, &json!({"state": "degraded", "store": {"kind": "failed"}}));
    assert!(app["store"]["since"].as_str().unwrap().ends_with('Z'), "{app}");
    setup.assert_metrics(&["wxsub_token_store_up{appid=\"wx1\"} 0"]).await;
}

/// The client `orders`, whose key ends a few days after the start of the manual clock.
fn orders_with_expiring_key() -> String {
    let digest = "1".repeat(64);
    format!(
        "[[clients]]\nname = \"orders\"\napps = [\"wx1\"]\nscopes = [\"token:read\"]\n\
         keys = [{{ sha256 = \"{digest}\", expires = 2026-06-01 }}]\n"
    )
}

/// For operators who read the log of the last day.
#[tokio::test]
async fn key_that_ends_soon_is_in_the_log_every_day() {
    let log = NamedTempFile::new().unwrap();
    let logger = tracing_subscriber::fmt().with_writer(log.reopen().unwrap()).finish();
    let _logging = tracing::subscriber::set_default(logger);
    let setup = Setup::new(&orders_with_expiring_key()).await;
    let until_the_third_day = async {
        for day in 1..=3 {
            setup.clock.advance_and_run(Duration::from_secs(12 * 3600)).await;
            let logged = fs::read_to_string(log.path()).unwrap();
            let warnings =
                logged.lines().filter(|line| line.contains("WARN") && line.contains("client orders"));
            assert_eq!(warnings.count(), day, "{logged}");
            setup.clock.advance_and_run(Duration::from_secs(12 * 3600)).await;
        }
    };
    setup.serve_until(until_the_third_day).await;
}

/// Each has its cause and what to do in both languages, and goes away when an operator has done it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn problems_of_the_server_are_listed_with_remedies() {
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2026, 6, 1);
    let private_key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&private_key).unwrap().pem();
    let tls = tls::lines("problems", &certificate, &private_key.serialize_pem());
    let clients = client('a', "\"wx1\"", "\"admin\"") + &orders_with_expiring_key();
    let config = config_with_audit(&format!("\"/dev/full\"\n{tls}"), &clients);
    let setup = Setup::with_open_files(config.clone(), 256).await;
    let problems = async || setup.get("/v1/apps", &key('a')).await.json()["problems"].clone();
    // The line of this request is the first one that is lost.
    problems().await;
    setup.server.record_failed_reload();
    let listed = problems().await;
    let expected = [
        ("audit", "audit lines are lost since 20", "已丢失 1 行；请清理"),
        ("reload", "`wxsub serve --check` list, and reload again", "的重新加载失败"),
        ("certificate", "the certificate ends at 2026-06-01T00:00:00Z; renew it", "证书将于 2026-06-01"),
        ("open_files", "raise it to 5250 (LimitNOFILE of systemd", "请提高到 5250"),
        ("client_key", "of the client orders expires at 2026-06-02T00:00:00Z; add", "客户端 orders 的密钥"),
    ];
    let kinds: Vec<_> = listed.as_array().unwrap().iter().map(|problem| problem["kind"].clone()).collect();
    assert_eq!(kinds, expected.map(|(kind, ..)| kind), "{listed}");
    for (problem, (_, text, text_zh)) in listed.as_array().unwrap().iter().zip(expected) {
        assert!(problem["text"].as_str().unwrap().contains(text), "{problem}");
        assert!(problem["text_zh"].as_str().unwrap().contains(text_zh), "{problem}");
        assert_eq!(problem["remedy"], "fix_config");
    }
    setup.server.reload(&config).unwrap();
    assert!(problems().await.as_array().unwrap().iter().all(|problem| problem["kind"] != "reload"));
    let healthy = Setup::new(&client('a', "\"wx1\"", "\"admin\"")).await;
    assert!(healthy.get("/v1/apps", &key('a')).await.json().get("problems").is_none());
}

/// A relative path starts at the working directory, which is seldom the one that an operator thinks of.
#[tokio::test]
async fn check_and_start_name_the_absolute_path_that_cannot_be_opened() {
    // Not a folder.
    let path = "Cargo.toml/x";
    let tried = absolute(path).unwrap().display().to_string();
    for (audit, more) in [
        (path, String::new()),
        ("off", format!("state_dir = \"{path}\"\n")),
        ("off", format!("[ledger]\nurl = \"sqlite:{path}\"\n")),
    ] {
        let config = read_config(&format!("audit = \"{audit}\"\n{more}{APPS}")).unwrap();
        let check = config.check_start(UnixMillis::new(1_780_000_000_000)).await;
        let [problem] = &check.problems[..] else { panic!("{more}: {:?}", check.problems) };
        let error = wxsub_server::Server::builder(config).build().await.unwrap_err();
        for text in [problem.to_string(), error.to_string()] {
            assert!(text.contains(&tried), "{text}");
        }
    }
}

/// The package installs this file as an example.
#[test]
fn example_of_the_configuration_is_valid() {
    let text = EXAMPLE.replace("secret_file = \"/etc/wxsub/wx.secret\"", "secret_env = \"S\"");
    let (_, warnings) =
        wxsub_server::Config::read(&text, |name| (name == "S").then(|| SECRET.to_owned())).unwrap();
    assert!(warnings.is_empty() && text != EXAMPLE, "{warnings:?}");
}

/// What the queue of an app waits for, since when, and how many messages have no decision. A ledger that is down is a problem.
#[tokio::test]
async fn apps_are_listed_with_what_their_messages_wait_for() {
    let config = client('c', "\"*\"", "\"admin\"") + &ledger_config();
    let (setup, ledger) = Setup::with_ledger(&config).await;
    let listed = async || setup.get("/v1/apps", &key('c')).await.json();
    let post = |app: &str, what: &str, body: String| {
        let path = format!("/v1/apps/{app}/{what}");
        let setup = &setup;
        async move { setup.meanwhile(setup.ask("POST", &path, Some(&key('a')), body)).await.status }
    };
    assert_eq!(listed().await["apps"][0]["outbox"], json!({"queued": 0, "undecided": 0}));
    assert_eq!(post("wx1", "outbox/pause", String::new()).await, 200);
    assert_eq!(post("wx1", "outbox", message("oUser", 1)).await, 202);
    assert_eq!(post("wx2", "outbox", later("oLater")).await, 202);
    setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
    assert_eq!(post("wx2", "messages", message("oUser", 1)).await, 504);
    setup.pass(40).await;
    let apps = listed().await["apps"].clone();
    let paused = &apps[0]["outbox"];
    has(paused, &json!({"waiting_for": "paused", "undecided": 0, "queued": 1, "paused_by": "a"}));
    let paused_s = setup.sandbox.now().as_millis() - millis(&paused["paused_at"]);
    assert!((40_000..50_000).contains(&paused_s), "{paused}");
    assert!((40..50).contains(&paused["oldest_due_s"].as_u64().unwrap()), "{paused}");
    assert_eq!(apps[1]["outbox"], json!({"queued": 1, "undecided": 1}));

    ledger.fail(test_ledger::Fault::SilentApp);
    let apps = setup.meanwhile(listed()).await["apps"].clone();
    assert!(apps[0].get("outbox").is_none(), "{apps}");
    assert_eq!(apps[1]["outbox"], json!({"queued": 1, "undecided": 1}), "the others are read all the same");

    ledger.fail(test_ledger::Fault::Away);
    assert_eq!(post("wx2", "outbox", message("oUser", 1)).await, 503);
    let problem = listed().await["problems"][0].clone();
    assert_eq!(problem["kind"], "ledger");
    assert!(problem["text"].as_str().unwrap().starts_with("the last commit to the ledger failed"));
    ledger.fail(test_ledger::Fault::None);
    setup.pass(5).await;
    assert!(listed().await.get("problems").is_none());
}
