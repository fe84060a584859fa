//! An invalid consent URL shows the reason and the remedy.

use super::chromium::Chromium;
use super::wxsub::{APPID, Sandbox, TEMPLATE};

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn invalid_consent_url_shows_reason_and_remedy() {
    let sandbox = Sandbox::start();
    let window = Chromium::start();
    let consent_url = sandbox.consent_url("7");
    for (from, to, why, remedy) in [
        (APPID, "wxstranger", "appid: the sandbox has no such app", APPID),
        (TEMPLATE, "OTHER", "template_id: the app has no such template", TEMPLATE),
        ("http%3A", "javascript%3A", "redirect_url: ", "It starts with http:// or https://"),
        ("scene=7", "scene=70000", "scene: ", "a number from 0 to 10000"),
        ("reserved=", "reserved=-", "reserved: ", "letters and digits"),
        ("get_confirm", "%3Cscript%3E", "action: ", "wxsub consent url"),
    ] {
        window.open_url(&consent_url.replace(from, to));
        window.find_text("h1", "Invalid consent URL 授权链接无效");
        let (shown, advised) = (window.text(&window.find("#error")), window.text(&window.find("#remedy")));
        assert!(shown.starts_with(why) && advised.contains(remedy), "{shown} {advised}");
        assert!(!window.has("script") && !window.has("form"));
        let named = why.split(':').next().unwrap();
        assert_eq!(window.text(&window.find("dt.wrong")), named);
    }
    window.open_url(&consent_url.replace(TEMPLATE, "OTHER"));
    window.take_screenshots("invalid-consent-url");
}
