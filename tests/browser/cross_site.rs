//! Pages of other sites can link to the sandbox, and cannot act for its user.

use serde_json::json;

use super::chromium::Chromium;
use super::wxsub::Sandbox;

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn cross_site_form_post_is_rejected() {
    let sandbox = Sandbox::start();
    let window = Chromium::start();
    let (base, before) = (&sandbox.base, sandbox.get("/_sandbox/events"));
    let consent_url = sandbox.consent_url("7");
    let consent = consent_url.split('#').next().unwrap().replace('%', "%25");
    for (action, field) in [
        (format!("{base}/_sandbox/ui/clock"), "name=seconds value=60"),
        (consent, "name=action value=confirm"),
    ] {
        window.open_url(&format!(
            "data:text/html,<form method=post action='{action}'><button {field}>Win a prize</button></form>"
        ));
        window.click(&window.find_text("button", "Win a prize"));
        window.find_text("p", "The request came from a page of another site. Use the pages of the sandbox.");
    }
    assert_eq!(sandbox.get("/_sandbox/events"), before);
    assert_eq!(sandbox.get("/_sandbox/mailbox?openid=o"), json!([]));
}
