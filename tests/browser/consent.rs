//! A user opens the consent URL and decides. The app verifies the callback and sends.

use serde_json::{Value, json};

use super::chromium::{Chromium, Size};
use super::wxsub::{RESERVED, Sandbox, TEMPLATE, USER};

const TITLE: &str = "<script>包裹到了";
const CONTENT: &str = "It is at the counter.\n取件码 <b>\"42-1\"</b>";

/// The output of `wxsub consent verify` for a callback URL, and its exit code.
fn verify(sandbox: &Sandbox, url: &str, reserved: &str) -> (Option<i32>, Value) {
    let read =
        sandbox.wxsub(&["consent", "verify", url, "--expect-reserved", reserved, "--expect-scene", "7"]);
    (read.status.code(), serde_json::from_slice(&read.stdout).unwrap_or_default())
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn allowed_consent_leads_to_the_mailbox() {
    let sandbox = Sandbox::start();
    let window = Chromium::start();
    window.open_url(&sandbox.consent_url("7"));
    window.take_screenshots("consent");
    window.set_size(Size::Phone);
    window.click(&window.find("button[value=confirm]"));
    let shown = window.text(&window.find("#callback"));
    assert!(shown.contains(USER) && shown.contains(RESERVED), "{shown}");
    // The documented order, without the fragment of the consent URL.
    let callback = window.url();
    let redirect_url = sandbox.callback_url();
    assert_eq!(
        callback,
        format!(
            "{redirect_url}&openid={USER}&template_id={TEMPLATE}&action=confirm&scene=7&reserved={RESERVED}"
        )
    );
    let grant = json!({"action": "confirm", "openid": USER, "template_id": TEMPLATE, "scene": 7, "reserved": RESERVED});
    assert_eq!(verify(&sandbox, &callback, RESERVED), (Some(0), grant));
    assert_eq!(verify(&sandbox, &callback, "another").0, Some(2));

    // The consent is for one message.
    assert_eq!(sandbox.send(USER, "7", TITLE, CONTENT).0, Some(0));
    assert_eq!(sandbox.send(USER, "7", TITLE, CONTENT).0, Some(3));

    window.open_url(&sandbox.base);
    assert_eq!(window.text(&window.find(".message h4")), TITLE);
    let content = window.find(".message .content font");
    assert_eq!(window.text(&content), CONTENT);
    assert_eq!(window.color(&content), "rgba(212, 56, 13, 1)");
    assert!(window.text(&window.find(".message a.tap")).contains("https://shop.example/parcels/42"));
    window.find_text("span", "43101");
    assert_eq!(window.browser_log(), json!([]));
}

/// Tab moves to the field and the buttons, Enter presses.
#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn consent_page_works_with_keyboard_and_without_scripts() {
    const TAB: char = '\u{e004}';
    const ENTER: char = '\u{e007}';
    let sandbox = Sandbox::start();
    let window = Chromium::start();
    window.disable_scripts();
    window.open_url(&sandbox.consent_url("7"));
    // Tab selects the content of the field, so typing replaces it.
    window.press(&format!("{TAB}oOtherUser{TAB}{ENTER}"));
    assert!(window.text(&window.find("#callback")).contains("oOtherUser"));
    assert_eq!(sandbox.send("oOtherUser", "7", TITLE, CONTENT).0, Some(0));
}
