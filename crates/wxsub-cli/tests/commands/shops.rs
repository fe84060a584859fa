//! The web shops in five languages, in `examples/`: each from the consent to the outcome, and against forged webhooks.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::webhook::WebhookSecret;
use wxsub_test_support::{Process, Stream, free_port, wait_for};

use super::served::{self, Response, ask};
use super::served_sandbox::ServedSandbox;
use super::weixin::header;
use super::wxsub::folder;

/// A shop that runs.
struct Shop {
    process: Process,
    address: String,
}

impl Shop {
    /// Runs this command of a shell in the folder of the examples, until it listens. `$PORT` is the port, `$OUT` an empty folder.
    fn start(command: &str, port: u16, out: &Path, sandbox: &ServedSandbox) -> Self {
        let mut shop = Command::new("sh");
        shop.args(["-ec", &format!("exec 2>&1; {command}")])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(sandbox.values())
            .env("PORT", port.to_string())
            .env("OUT", out);
        let address = format!("127.0.0.1:{port}");
        let process = Process::start(&mut shop, Stream::Stdout, &format!("http://{address}"));
        Self { process, address }
    }

    fn get(&self, target: &str, cookie: &str) -> Response {
        exchange(&self.address, &format!("GET {target}"), &format!("Cookie: {cookie}\r\n"), "")
    }
}

impl Response {
    fn header(&self, name: &str) -> &str {
        header(&self.head, name).unwrap_or_else(|| panic!("{}", self.head))
    }
}

/// One request on a connection of its own.
fn exchange(address: &str, request: &str, headers: &str, body: &str) -> Response {
    let headers = format!("Host: {address}\r\n{headers}");
    served::exchange(address, request, &headers, body.as_bytes()).unwrap_or_else(|| panic!("{request}"))
}

/// The part of a URL that a request has.
fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
    let (address, target) = rest.split_at(rest.find('/').unwrap());
    (address, target.split('#').next().unwrap())
}

/// A visitor begins at the shop, and decides on the consent page: the cookie and the target of the callback.
fn visit(shop: &Shop, action: &str) -> (String, String) {
    let asked = shop.get("/", "");
    assert_eq!(asked.status, 302, "{}", asked.body);
    let cookie = asked.header("set-cookie").split(';').next().unwrap().to_owned();
    let (address, page) = split(asked.header("location"));
    let form = format!("openid=oUser&action={action}");
    let content = "Content-Type: application/x-www-form-urlencoded\r\n";
    let decided = exchange(address, &format!("POST {page}"), content, &form);
    assert_eq!(decided.status, 302, "{}", decided.body);
    let (address, back) = split(decided.header("location"));
    assert_eq!(address, shop.address);
    (cookie, back.to_owned())
}

/// From the consent to the outcome.
fn check_message(shop: &Shop) {
    let (cookie, back) = visit(shop, "cancel");
    let declined = shop.get(&back, &cookie);
    assert_eq!(declined.status, 200);
    assert!(declined.body.contains("No message, then."), "{}", declined.body);
    let (cookie, back) = visit(shop, "confirm");
    let forged = shop.get(&back, "session=0123456789abcdef");
    assert_eq!(forged.status, 400, "{}", forged.body);
    assert!(forged.body.contains("belongs to no request of this app and session"), "{}", forged.body);
    assert_eq!(shop.get(&back.replace("scene=1000", "scene=1"), &cookie).status, 400);
    let first = shop.get(&back, &cookie);
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(first.body.contains("Thank you. Your message is "), "{}", first.body);
    let again = shop.get(&back, &cookie);
    assert_eq!(again.body, first.body);
    shop.process.lines.wait_for(&format!("order-{} sent", cookie.strip_prefix("session=").unwrap()));
}

/// The shop has taken its webhooks: none is tried again.
fn check_deliveries(sandbox: &ServedSandbox) {
    wait_for("webhooks", || {
        let address = sandbox.value("WXSUB_SERVER").strip_prefix("http://").unwrap();
        let (_, listed) = ask(address, "GET", "/v1/webhooks", sandbox.value("WXSUB_KEY"), b"").unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let endpoints = listed["endpoints"].as_array().unwrap();
        let yours = endpoints.iter().find(|endpoint| endpoint["name"] == "yours").unwrap();
        assert_eq!(yours["failed"], Value::from(Vec::<Value>::new()), "{listed}");
        yours["pending"] == 0
    });
}

const BODY: &str = r#"{"type":"message.sent","data":{"id":"m-1","idempotency_key":"order-1","outcome":"sent","text":"文字"}}"#;

/// Webhooks, genuine and forged.
fn check_webhooks(shop: &Shop, secret: &WebhookSecret) {
    let now = SystemClock::new().now().wall.get() / 1000;
    let genuine = |timestamp: u64| secret.sign("m-1-3", timestamp, BODY.as_bytes());
    let other = WebhookSecret::generate().unwrap().sign("m-1-3", now, BODY.as_bytes());
    let rotating = format!("{other} {}", genuine(now));
    for (name, id, timestamp, signature, body, is_taken) in [
        ("genuine", "m-1-3", now, genuine(now), BODY, true),
        ("during a rotation", "m-1-3", now, rotating, BODY, true),
        ("another secret", "m-1-3", now, other, BODY, false),
        ("another id", "m-1-4", now, genuine(now), BODY, false),
        ("another body", "m-1-3", now, genuine(now), "{}", false),
        ("no signature", "m-1-3", now, String::new(), BODY, false),
        ("too old", "m-1-3", now - 400, genuine(now - 400), BODY, false),
        ("from the future", "m-1-3", now + 400, genuine(now + 400), BODY, false),
    ] {
        let headers = format!(
            "Content-Type: application/json\r\nwebhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n"
        );
        let response = exchange(&shop.address, "POST /hooks", &headers, body);
        assert_eq!(response.status, if is_taken { 200 } else { 400 }, "{name}: {}", response.body);
    }
    let without = exchange(&shop.address, "POST /hooks", "Content-Type: application/json\r\n", BODY);
    assert_eq!(without.status, 400, "{}", without.body);
    shop.process.lines.wait_for("order-1 sent");
}

#[test]
#[ignore = "needs php, node, a JDK and Go: scripts/test runs it"]
fn each_shop_sends_a_message_and_takes_genuine_webhooks_only() {
    for command in [
        "exec /usr/bin/python3 python/shop.py",
        "exec node node/shop.js",
        "exec php -S 127.0.0.1:$PORT php/shop.php",
        "exec java java/Shop.java",
        "GO111MODULE=off GOPATH=$OUT GOCACHE=$OUT/cache go build -o $OUT/shop go/shop.go; exec $OUT/shop",
    ] {
        let (port, out) = (free_port(), folder());
        let sandbox = ServedSandbox::start(&["--webhook", &format!("http://127.0.0.1:{port}/hooks")]);
        let shop = Shop::start(command, port, out.path(), &sandbox);
        assert_eq!(shop.get("/nothing", "").status, 404);
        // A target that is no URL ends no shop.
        shop.get("//", "");
        check_message(&shop);
        check_deliveries(&sandbox);
        check_webhooks(&shop, &sandbox.value("WXSUB_WEBHOOK_SECRET").parse().unwrap());
    }
}
