//! Webhooks: what endpoints get, and how the server treats those that fail.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::webhook::{WebhookHeaders, WebhookSecret};
use wxsub_outbox::ledger::Change;
use wxsub_outbox::state::AuditAction;
use wxsub_outbox::webhook::DELIVERY_LEASE;
use wxsub_outbox::{Ledger, MemoryLedger};
use wxsub_server::Server;

use super::outbox::{enqueue, ledger_config, post};
use super::setup::{APPS, SEND, Setup, TestResponse, client, config, has, key, message, read_config, until};
use super::test_ledger::{Fault, TestLedger};
use super::webhook_receivers::{Answer, Webhook};

/// The file of a secret. Each number is another one.
fn secret_file(number: u8) -> PathBuf {
    static FILES: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
        [0, 1].map(|number| {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("webhook-secret-{number}"));
            std::fs::write(&path, secret_text(number)).unwrap();
            path
        })
    });
    FILES[usize::from(number)].clone()
}

fn secret_text(number: u8) -> String {
    let letters = [b'A' + number; 32];
    format!("whsec_{}", String::from_utf8(letters.to_vec()).unwrap())
}

/// One `[[webhooks]]` with the first secret.
pub(crate) fn endpoint(host: &str, more: &str) -> String {
    let secrets = format!("secret_files = [{:?}]", secret_file(0));
    let secrets = if more.contains("secret_files") { "" } else { &secrets };
    let apps = if more.contains("apps =") { "" } else { "apps = [\"*\"]" };
    format!("[[webhooks]]\nurl = \"https://{host}/hooks\"\n{secrets}\n{apps}\n{more}\n")
}

/// A server with these endpoints. Client `o` is an operator.
fn text(endpoints: &[String]) -> String {
    format!("{}{}{}", client('o', "\"*\"", "\"admin\""), ledger_config(), endpoints.concat())
}

impl Setup {
    async fn with_endpoints(endpoints: &[String]) -> (Self, Arc<TestLedger>) {
        Self::with_ledger(&text(endpoints)).await
    }

    /// A message to this user that Weixin accepts.
    pub(crate) async fn sent(&self, openid: &str) {
        self.allow(openid, 1);
        assert_eq!(self.meanwhile(self.send(message(openid, 1))).await.status, 200);
    }

    /// Lets time pass until so many webhooks have arrived at this host.
    pub(crate) async fn until_arrived(&self, host: &str, count: usize) -> Vec<Webhook> {
        for _ in 0..1_000 {
            if self.receivers.at(host).len() >= count {
                break;
            }
            self.clock.advance_and_run(Duration::from_millis(100)).await;
        }
        let arrived = self.receivers.at(host);
        assert_eq!(arrived.len(), count, "{arrived:?}");
        arrived
    }

    async fn webhooks(&self) -> Value {
        self.get("/v1/webhooks", &key('o')).await.json()
    }

    async fn redeliver(&self, endpoint: &str) -> TestResponse {
        self.ask("POST", &format!("/v1/webhooks/{endpoint}/redeliver"), Some(&key('o')), "").await
    }

    /// Checks the last outcomes of webhooks.
    async fn assert_metric(&self, line: &str) {
        self.pass(2).await;
        self.assert_metrics(&[line]).await;
    }
}

/// Whether a secret verifies it.
fn is_signed(webhook: &Webhook, secret: u8) -> bool {
    let secret: WebhookSecret = secret_text(secret).parse().unwrap();
    let headers = WebhookHeaders {
        id: webhook.header("webhook-id"),
        timestamp: webhook.header("webhook-timestamp"),
        signature: webhook.header("webhook-signature"),
    };
    let seconds: u64 = headers.timestamp.parse().unwrap();
    secret.verify(headers, webhook.body.as_bytes(), UnixMillis::new(seconds * 1000)).is_ok()
}

#[tokio::test]
async fn each_outcome_is_delivered_and_signed() {
    let (setup, _ledger) = Setup::with_endpoints(&[endpoint("shop.example", "")]).await;
    let header = [("Idempotency-Key", "order-1")];
    setup.allow("oUser", 1);
    let queued = enqueue(&setup, &header, message("oUser", 1)).await.json();
    let webhook = setup.until_arrived("shop.example", 1).await.remove(0);
    let body = webhook.json();
    let data = &body["data"];
    let expected = json!({"appid": "wx1", "idempotency_key": "order-1", "outcome": "sent", "attempt": 1, "id": queued["id"]});
    has(&body, &json!({"type": "message.sent", "data": expected}));
    assert!(data.get("openid").is_none() && !webhook.body.contains("Parcel"), "{body}");
    assert_eq!(webhook.header("content-type"), "application/json");
    let id = format!("{}-{}", queued["id"].as_str().unwrap(), data["sequence"]);
    assert_eq!(webhook.header("webhook-id"), id);
    assert!(is_signed(&webhook, 0) && !is_signed(&webhook, 1));
    // Refused: the consent is used.
    assert_eq!(setup.meanwhile(setup.send(message("oUser", 1))).await.status, 422);
    let refused = setup.until_arrived("shop.example", 2).await.remove(1).json();
    has(&refused, &json!({"type": "message.refused", "data": {"errcode": 43101}}));
    setup.sandbox.add_fault(SEND, 1, wxsub_sandbox::Fault::ResetAfterApply);
    assert_eq!(setup.meanwhile(setup.send(message("oOther", 1))).await.status, 504);
    let lost = setup.until_arrived("shop.example", 3).await.remove(2).json();
    assert_eq!(lost["type"], "message.maybe_sent");
    // The server waits with a decision until no worker can post the message any more.
    setup.pass(120).await;
    let path = format!("outbox/{}/decision", lost["data"]["id"].as_str().unwrap());
    let version = format!("\"{}\"", lost["data"]["sequence"]);
    let body = json!({"decision": "give_up", "note": ""}).to_string();
    post(&setup, &path, &[("If-Match", &version)], body).await.has(200, &json!({}));
    let decided = setup.until_arrived("shop.example", 4).await.remove(3).json();
    has(&decided, &json!({"type": "message.decided", "data": {"decision": "give_up"}}));
    assert!(decided["data"]["sequence"].as_u64() > lost["data"]["sequence"].as_u64());
    let delivered = "wxsub_webhook_attempts_total{endpoint=\"shop.example\",result=\"delivered\"} 4";
    setup.assert_metric(delivered).await;
}

#[tokio::test]
async fn an_endpoint_hears_of_its_apps_and_events_only() {
    let (setup, _ledger) = Setup::with_endpoints(&[
        endpoint("other.example", "apps = [\"wx2\"]"),
        endpoint("refusals.example", "events = [\"message.refused\"]"),
        endpoint("users.example", "include_openid = true\nname = \"users\""),
    ])
    .await;
    setup.sent("oUser").await;
    let webhook = setup.until_arrived("users.example", 1).await.remove(0);
    assert_eq!(webhook.json()["data"]["openid"], "oUser");
    setup.pass(5).await;
    assert!(setup.receivers.at("other.example").is_empty());
    assert!(setup.receivers.at("refusals.example").is_empty());
    let names = ["other.example", "refusals.example", "users"].map(|name| json!({"name": name}));
    has(&setup.webhooks().await, &json!({"endpoints": names}));
}

#[tokio::test]
async fn a_failed_delivery_is_retried_under_the_same_id_with_a_fresh_signature() {
    let (setup, _ledger) = Setup::with_endpoints(&[endpoint("shop.example", "")]).await;
    setup.receivers.answer("shop.example", &[Answer::Status(500), Answer::Status(302), Answer::Status(200)]);
    setup.sent("oUser").await;
    let first = setup.until_arrived("shop.example", 1).await.remove(0);
    let failed = json!({"error": "status 500", "attempts": 1, "id": first.header("webhook-id")});
    has(&setup.webhooks().await, &json!({"endpoints": [{"failed": [failed]}]}));
    let second = setup.until_arrived("shop.example", 2).await.remove(1);
    assert_eq!((second.header("webhook-id"), &second.body), (first.header("webhook-id"), &first.body));
    let seconds = |webhook: &Webhook| webhook.header("webhook-timestamp").parse::<u64>().unwrap();
    assert!(seconds(&second) >= seconds(&first) + 5);
    assert_ne!(second.header("webhook-signature"), first.header("webhook-signature"));
    assert!(is_signed(&first, 0) && is_signed(&second, 0));
    let failed = setup.webhooks().await["endpoints"][0]["failed"][0].clone();
    assert!(failed["error"].as_str().unwrap().contains("a redirect, which is not followed"), "{failed}");
    // The next attempt is due after five minutes. An operator wants it now.
    assert_eq!(setup.redeliver("shop.example").await.json(), json!({"due": 1}));
    setup.until_arrived("shop.example", 3).await;
    has(&setup.webhooks().await, &json!({"endpoints": [{"pending": 0, "dead": 0, "failed": []}]}));
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let (setup, _ledger) = Setup::with_endpoints(&[endpoint("shop.example", "")]).await;
    setup.receivers.answer("shop.example", &[Answer::RetryAfter(429, 20)]);
    setup.sent("oUser").await;
    let first = setup.until_arrived("shop.example", 1).await.remove(0);
    setup.pass(19).await;
    assert_eq!(setup.receivers.at("shop.example").len(), 1);
    let second = setup.until_arrived("shop.example", 2).await.remove(1);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
}

#[tokio::test]
async fn an_endpoint_that_hangs_ends_after_15_s_and_stops_no_other() {
    let endpoints = [endpoint("hangs.example", ""), endpoint("shop.example", "")];
    let (setup, _ledger) = Setup::with_endpoints(&endpoints).await;
    setup.receivers.answer("hangs.example", &[Answer::Hang; 40]);
    for number in 0..40 {
        setup.sent(&format!("oUser{number}")).await;
    }
    setup.until_arrived("shop.example", 40).await;
    assert!(setup.receivers.at("hangs.example").len() >= 16);
    setup.pass(16).await;
    let failed = setup.webhooks().await["endpoints"][0]["failed"][0]["error"].clone();
    assert_eq!(failed, "no complete response within 15 s");
    let delivered = "wxsub_webhook_attempts_total{endpoint=\"shop.example\",result=\"delivered\"} 40";
    setup.assert_metric(delivered).await;
    let metrics = setup.metrics().await;
    assert!(!metrics.contains("endpoint=\"hangs.example\",result=\"no_response\"} 0"), "{metrics}");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_until_an_operator_enables_it() {
    let (setup, ledger) = Setup::with_endpoints(&[endpoint("shop.example", "")]).await;
    setup.receivers.answer("shop.example", &[Answer::Status(410)]);
    setup.sent("oUser").await;
    setup.until_arrived("shop.example", 1).await;
    setup.sent("oOther").await;
    setup.pass(60).await;
    assert_eq!(setup.receivers.at("shop.example").len(), 1);
    setup.assert_metric("wxsub_webhook_disabled{endpoint=\"shop.example\"} 1").await;
    let ready = setup.ask("GET", "/readyz", None, "").await;
    ready.has(200, &json!({"disabled_webhooks": ["shop.example"]}));
    assert!(setup.webhooks().await["endpoints"][0]["disabled_at"].is_string());
    // A reload of the same configuration does not enable it.
    setup.server.reload(&config(&text(&[endpoint("shop.example", "")]))).unwrap();
    setup.pass(5).await;
    assert_eq!(setup.receivers.at("shop.example").len(), 1);
    assert_eq!(setup.redeliver("shop.example").await.status, 200);
    setup.until_arrived("shop.example", 3).await;
    // What a client does is in the audit, as what an operator does in the console.
    let line = ledger.audit(None, 1).await.unwrap().remove(0);
    assert_eq!((line.entry.actor.as_str(), line.entry.address.as_str()), ("client:o", "10.1.2.3"));
    assert_eq!((line.entry.action, line.entry.subject.as_str()), (AuditAction::Redeliver, "shop.example"));
    setup.redeliver("other").await.is(404, "not_found");
}

/// An endpoint may tell of several apps. A key sees it if it may use all of them.
#[tokio::test]
async fn a_key_for_some_apps_sees_and_redelivers_their_endpoints_only() {
    let endpoints = [
        endpoint("one.example", "apps = [\"wx1\"]"),
        endpoint("both.example", "apps = [\"wx1\", \"wx2\"]"),
        endpoint("all.example", ""),
    ];
    let more = text(&endpoints) + &client('q', "\"wx1\"", "\"admin\"");
    let (setup, _ledger) = Setup::with_ledger(&more).await;
    setup.pass(1).await;
    let named = |names: &[&str]| json!({"endpoints": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    has(&setup.webhooks().await, &named(&["all.example", "both.example", "one.example"]));
    setup.get("/v1/webhooks", &key('q')).await.has(200, &named(&["one.example"]));
    for (name, status) in [("one.example", 200), ("both.example", 404), ("all.example", 404)] {
        let path = format!("/v1/webhooks/{name}/redeliver");
        let response = setup.ask("POST", &path, Some(&key('q')), "").await;
        assert_eq!(response.status, status, "{name}: {response:?}");
        if status == 404 {
            assert!(response.text.contains("of the ledger: one.example\""), "{response:?}");
        }
        assert_eq!(setup.redeliver(name).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn both_secrets_sign_during_a_rotation() {
    let both = format!("secret_files = [{:?}, {:?}]", secret_file(1), secret_file(0));
    let (setup, _ledger) = Setup::with_endpoints(&[endpoint("shop.example", &both)]).await;
    setup.sent("oUser").await;
    let webhook = setup.until_arrived("shop.example", 1).await.remove(0);
    assert!(is_signed(&webhook, 0) && is_signed(&webhook, 1) && !is_signed(&webhook, 2));
    let new = format!("secret_files = [{:?}]", secret_file(1));
    setup.server.reload(&config(&text(&[endpoint("shop.example", &new)]))).unwrap();
    setup.sent("oOther").await;
    let webhook = setup.until_arrived("shop.example", 2).await.remove(1);
    assert!(!is_signed(&webhook, 0) && is_signed(&webhook, 1));
}

#[tokio::test]
async fn a_reload_adds_and_removes_endpoints() {
    let (setup, _ledger) = Setup::with_endpoints(&[endpoint("old.example", "")]).await;
    setup.sent("oUser").await;
    setup.until_arrived("old.example", 1).await;
    setup.server.reload(&config(&text(&[endpoint("new.example", "")]))).unwrap();
    setup.pass(1).await;
    setup.sent("oOther").await;
    setup.until_arrived("new.example", 1).await;
    setup.pass(5).await;
    assert_eq!(setup.receivers.at("old.example").len(), 1);
    setup.server.reload(&config(&text(&[]))).unwrap();
    setup.pass(1).await;
    assert_eq!(setup.webhooks().await, json!({"endpoints": []}));
}

/// The reload comes while the ledger commits the claim.
#[tokio::test]
async fn a_webhook_that_was_claimed_before_a_reload_does_not_wait_for_its_lease() {
    let endpoints = text(&[endpoint("shop.example", "")]);
    let (setup, ledger) = Setup::with_ledger(&endpoints).await;
    ledger.fail(Fault::HeldClaim);
    setup.sent("oUser").await;
    setup.pass(1).await;
    assert_eq!(ledger.webhook_claims(), 1);
    setup.server.reload(&config(&endpoints)).unwrap();
    setup.pass(1).await;
    ledger.reply_to_claim().await;
    setup.pass(1).await;
    assert_eq!(setup.receivers.at("shop.example").len(), 1);
    has(&setup.webhooks().await, &json!({"endpoints": [{"pending": 0, "dead": 0}]}));
}

/// Its configuration is older than that of the server that wrote the endpoints of the ledger.
#[tokio::test]
async fn a_server_whose_endpoint_was_replaced_says_so_and_claims_nothing() {
    let with_host = |host: &str| text(&[endpoint(host, "name = \"shop\"")]);
    let (old, ledger) = Setup::with_ledger(&with_host("old.example")).await;
    old.pass(1).await;
    let problems = async || old.get("/v1/apps", &key('o')).await.json().get("problems").cloned();
    assert_eq!(problems().await, None);
    let new = old.on_ledger(&with_host("new.example"), &ledger).await;
    new.pass(1).await;
    let problem = problems().await.unwrap_or_default()[0].clone();
    assert_eq!(
        (&problem["kind"], &problem["remedy"]),
        (&json!("webhooks"), &json!("fix_config")),
        "{problem}"
    );
    assert!(
        problem["text"].as_str().unwrap().contains("this server delivers nothing to them: shop;"),
        "{problem}"
    );
    drop(new);
    old.sent("oUser").await;
    old.pass(10).await;
    assert_eq!((old.receivers.at("old.example").len(), ledger.webhook_claims()), (0, 0));
    old.server.reload(&config(&with_host("new.example"))).unwrap();
    old.until_arrived("new.example", 1).await;
    assert_eq!(problems().await, None);
}

/// No server has the endpoint of the ledger.
#[tokio::test]
async fn a_webhook_that_no_server_delivers_is_due_ever_longer() {
    let (setup, ledger) = Setup::with_endpoints(&[endpoint("shop.example", "")]).await;
    setup.pass(1).await;
    let due = async || setup.webhooks().await["endpoints"][0].get("oldest_due_s").cloned();
    assert_eq!(due().await, None);
    let moved = ledger.webhook_endpoints().await.unwrap().remove(0).endpoint;
    let moved = wxsub_outbox::webhook::StoredEndpoint { url_sha256: [1; 32], ..moved };
    ledger.commit(vec![Change::SetEndpoints(vec![moved])]).await.unwrap();
    setup.sent("oUser").await;
    setup.pass(301).await;
    let age_s = due().await.unwrap().as_u64().unwrap();
    assert!((300..310).contains(&age_s), "{age_s}");
    let age = format!("wxsub_webhook_oldest_due_age_seconds{{endpoint=\"shop.example\"}} {age_s}");
    setup.assert_metrics(&[&age]).await;
}

/// A proxy may lead an operator to any of the servers.
#[tokio::test]
async fn an_endpoint_of_another_server_is_redelivered() {
    let (setup, ledger) = Setup::with_endpoints(&[]).await;
    setup.pass(1).await;
    let other = setup.on_ledger(&text(&[endpoint("shop.example", "")]), &ledger).await;
    other.pass(1).await;
    has(&setup.webhooks().await, &json!({"endpoints": [{"name": "shop.example"}]}));
    assert_eq!(setup.redeliver("shop.example").await.status, 200);
}

/// The first server dies between the commit of the event and its delivery, or during the attempt.
#[tokio::test]
async fn what_a_dead_server_did_not_deliver_another_one_delivers() {
    let endpoints = text(&[endpoint("shop.example", "")]);
    let (setup, ledger) = Setup::with_ledger(&endpoints).await;
    setup.receivers.answer("shop.example", &[Answer::Hang]);
    setup.sent("oUser").await;
    let attempted = setup.until_arrived("shop.example", 1).await.remove(0);
    let other = setup.on_ledger(&endpoints, &ledger).await;
    drop(setup);
    other.pass(DELIVERY_LEASE.as_secs()).await;
    let delivered = other.until_arrived("shop.example", 1).await.remove(0);
    assert_eq!(delivered.header("webhook-id"), attempted.header("webhook-id"));
    assert_eq!(delivered.event(), attempted.event());
}

#[tokio::test]
async fn two_servers_on_one_ledger_deliver_each_webhook_once() {
    let endpoints = text(&[endpoint("shop.example", "")]);
    let (setup, ledger) = Setup::with_ledger(&endpoints).await;
    let other = setup.on_ledger(&endpoints, &ledger).await;
    for number in 0..50 {
        let sender = if number % 2 == 0 { &setup } else { &other };
        sender.sent(&format!("oUser{number}")).await;
    }
    setup.pass(10).await;
    let both = [&setup, &other].map(|setup| setup.receivers.at("shop.example"));
    let mut ids: Vec<_> = both.iter().flatten().map(|webhook| webhook.header("webhook-id")).collect();
    assert_eq!(ids.len(), 50);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 50, "each once");
}

/// Over TLS, with the transport of the configuration.
#[tokio::test]
async fn an_endpoint_with_another_certificate_gets_nothing() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let (certificate, private) = (cert.der().clone(), signing_key.serialize_der());
    let private = rustls::pki_types::PrivateKeyDer::try_from(private).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let accepting = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(drop).is_err()
    });
    let other = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let ca = NamedTempFile::new().unwrap();
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let host = format!("localhost:{port}");
    let text = text(&[endpoint(&host, &format!("ca_file = {:?}\nname = \"liar\"", ca.path()))]);
    let ledger = Arc::new(MemoryLedger::new());
    let server = Server::builder(config(&text)).ledger(ledger.clone()).build().await.unwrap();
    server.run_worker();
    until(async || !ledger.webhook_endpoints().await.unwrap().is_empty()).await;
    record_invalid(&ledger).await;
    until(async || !ledger.failed_deliveries("liar", None, 1).await.unwrap().is_empty()).await;
    let error = ledger.failed_deliveries("liar", None, 1).await.unwrap().remove(0).error.unwrap();
    assert!(error.contains("certificate is not trusted"), "{error}");
    assert!(accepting.await.unwrap(), "the handshake was not completed");
}

/// Records a message that ends at once: it breaks a rule.
async fn record_invalid(ledger: &MemoryLedger) {
    use wxsub_outbox::idempotency::{Fingerprint, IdempotencyKey};
    use wxsub_outbox::ledger::{InvalidLine, InvalidMessage, KeyKind, NewKey};
    let ids = wxsub_outbox::id::IdGenerator::new(Some(1));
    let now = wxsub_core::clock::SystemClock::new().now().wall;
    let key = NewKey {
        client: "batch:x".to_owned(),
        key: IdempotencyKey::new("k").unwrap(),
        fingerprint: Fingerprint::from_bytes([1; 32]),
        kind: KeyKind::Batch,
    };
    let invalid = InvalidMessage {
        id: ids.message(now).unwrap(),
        appid: "wx1".parse().unwrap(),
        line: InvalidLine { problems: "title: is empty".to_owned(), ..InvalidLine::default() },
        key,
    };
    ledger.commit(vec![Change::RecordInvalid(Box::new(invalid))]).await.unwrap();
}

#[test]
fn a_wrong_endpoint_is_refused_with_its_line() {
    let read = |webhooks: &str| read_config(&format!("audit = \"off\"\n{APPS}{}{webhooks}", ledger_config()));
    let secret = secret_file(0);
    let with = |line: &str| format!("[[webhooks]]\nsecret_files = [{secret:?}]\napps = [\"*\"]\n{line}\n");
    let url = |url: &str| with(&format!("url = \"{url}\""));
    for valid in [
        "https://shop.example/hooks?token=x",
        "http://127.0.0.1:1/x",
        "http://localhost/x",
        "https://10.0.0.1/x",
    ] {
        assert!(read(&url(valid)).is_ok(), "{valid}");
    }
    let short = NamedTempFile::new().unwrap();
    std::fs::write(&short, "whsec_short").unwrap();
    let secrets = |files: &str| {
        format!("[[webhooks]]\nurl = \"https://a.example/x\"\napps = []\nsecret_files = [{files}]\n")
    };
    for (text, expected) in [
        (url("http://shop.example/x"), "webhooks[0].url"),
        (url("ftp://shop.example/x"), "webhooks[0].url"),
        (url("/hooks"), "must be a URL with a host"),
        (url("https://user:PLANTED@shop.example/x"), "webhooks[0].url"),
        (with(""), "webhooks[0].url: is missing"),
        (url("https://a.example/x") + "name = \"a b\"", "webhooks[0].name: must be 1 to 64"),
        (url("https://a.example/x") + "events = [\"sent\"]", "must be one of message.sent"),
        (url("https://a.example/x").repeat(2), "name a.example is used twice"),
        (secrets(""), "list of one file"),
        (secrets(&format!("{:?}", short.path())), "names a secret that must be whsec_"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.contains(expected) && !error.contains("PLANTED"), "{text}: {error}");
    }
    let text = format!("audit = \"off\"\n{APPS}{}", url("https://a.example/x"));
    let error = read_config(&text).unwrap_err();
    assert!(error.contains("only with [ledger]"), "{error}");
}
