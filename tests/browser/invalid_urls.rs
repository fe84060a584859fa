//! Links that cannot be opened say why, and what to do.

use super::chromium::Chromium;
use super::wxsub::{APPID, Sandbox, TEMPLATE};

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn a_wrong_link_says_what_is_wrong_with_it_and_what_to_do() {
    let sandbox = Sandbox::start();
    let chromium = Chromium::start("wrong-links");
    let window = chromium.window();
    let link = sandbox.link("7");
    for (from, to, why, remedy) in [
        (APPID, "wxstranger", "appid: the sandbox has no such app", APPID),
        (TEMPLATE, "OTHER", "template_id: the app has no such template", TEMPLATE),
        ("http%3A", "javascript%3A", "redirect_url: ", "It starts with http:// or https://"),
        ("scene=7", "scene=70000", "scene: ", "a number from 0 to 10000"),
        ("reserved=", "reserved=-", "reserved: ", "letters and digits"),
        ("get_confirm", "%3Cscript%3E", "action: ", "wxsub link"),
    ] {
        window.go(&link.replace(from, to));
        window.showing("h1", "Invalid consent URL 授权链接无效");
        let (told, advised) = (window.text(&window.find("#error")), window.text(&window.find("#remedy")));
        assert!(told.starts_with(why) && advised.contains(remedy), "{told} {advised}");
        assert!(!window.has("script") && !window.has("form"));
        let named = why.split(':').next().unwrap();
        assert_eq!(window.text(&window.find("dt.wrong")), named);
    }
    window.go(&link.replace(TEMPLATE, "OTHER"));
    chromium.photograph("wrong-link");
}
