//! The home page shows all events and controls the sandbox.

use serde_json::json;
use wxsub_tests::SEND;

use super::chromium::{Chromium, Size};
use super::wxsub::{Sandbox, USER};

/// The first steps of a new user, with clicks only.
#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn events_appear_without_a_reload() {
    let sandbox = Sandbox::start();
    let window = Chromium::start();
    window.open_url(&sandbox.base);
    let home = window.url();
    window.take_screenshots("home-empty");

    // The prepared consent URL leads to the consent page, and back to a page that shows the callback.
    window.set_size(Size::Phone);
    window.click(&window.find_text("a", "Open consent page"));
    window.click(&window.find("button[value=confirm]"));
    let shown = window.text(&window.find("#callback"));
    assert!(shown.contains(USER) && shown.contains("fromTheHomePage"), "{shown}");
    assert!(
        window
            .text(&window.find("pre"))
            .starts_with(&format!("wxsub consent verify '{home}callback?openid={USER}&"))
    );
    window.take_screenshots("callback");
    window.click(&window.find_text("a", "Back to the home page"));
    assert_eq!(window.url(), home);
    assert!(window.text(&window.find(".grants")).contains("scene 1000"));

    // Events from outside appear without a reload.
    let content = "Your parcel is at the counter.\n取件码 42-1-8033";
    assert_eq!(sandbox.send(USER, "1000", "取件通知 Parcel", content).0, Some(0));
    assert_eq!(window.text(&window.find(".message .content")), content);
    assert_eq!(sandbox.send(USER, "1000", "Again", "Again").0, Some(3));
    window.find_text("span", "43101");
    assert_eq!(window.browser_log(), json!([]));

    window.click(&window.find("option[value=errcode]"));
    window.fill(&window.find("input[name=path]"), SEND);
    window.fill(&window.find("input[name=number]"), "45009");
    window.fill(&window.find("input[name=times]"), "3");
    window.click(&window.find_text("button", "Add fault"));
    window.find(".alert");
    window.open_url(&home);
    window.take_screenshots("home");
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn faults_can_be_set_without_scripts() {
    let sandbox = Sandbox::start();
    let window = Chromium::start();
    window.disable_scripts();
    window.open_url(&sandbox.base);

    window.fill(&window.find("input[name=path]"), SEND);
    window.fill(&window.find("input[name=number]"), "45009");
    window.click(&window.find_text("button", "Add fault"));
    window.find_text("p", "Fault added. It applies to the next request for its path and app.");
    window.find_text("li", &format!("errcode 45009 × 1 on {SEND}"));
    // The fault hits only the next send. The one after is refused because there is no consent.
    let codes = [1, 2].map(|_| sandbox.send(USER, "7", "t", "c"));
    assert_eq!(codes, [(Some(3), Some(45009)), (Some(3), Some(43101))]);

    window.click(&window.find("option[value=hang]"));
    window.click(&window.find_text("button", "Add fault"));
    window.find_text("li", "hang × 1 on /cgi-bin/token");
    window.click(&window.find_text("button", "Remove all faults"));
    window.find_text("p", "All faults removed.");
    window.find_text("p", "No fault pending.");
    assert_eq!(sandbox.errcode_of(&sandbox.token()), json!(null));

    window.click(&window.find("option[value=status]"));
    window.fill(&window.find("input[name=number]"), "7");
    window.click(&window.find_text("button", "Add fault"));
    window
        .find_text("p", "fault.status: invalid value: integer `7`, expected a whole number from 200 to 599");
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn clock_and_invalidation_can_be_controlled_without_scripts() {
    let sandbox = Sandbox::start();
    let window = Chromium::start();
    window.disable_scripts();
    window.open_url(&sandbox.base);

    let token = sandbox.token();
    window.click(&window.find_text("button", "+2 h"));
    window.find_text("p", "Clock moved forward.");
    window.find_text("p", "Moved forward by 2 h.");
    assert!(window.url().ends_with("/?done=clock#clock"));
    assert_eq!(sandbox.errcode_of(&token), 42001);

    let token = sandbox.token();
    window.click(&window.find_text("button", "Invalidate all tokens"));
    window.find_text("p", "All tokens of the app are invalid now.");
    window.find_text("span", "tokens invalidated");
    assert_eq!(sandbox.errcode_of(&token), 40001);

    window.click(&window.find_text("summary", "Add an app, or replace its secret and templates"));
    for (name, text) in [("appid", "wx2"), ("secret", "s"), ("templates", "T1 T2")] {
        window.fill(&window.find(&format!("#apps .card input[name={name}]")), text);
    }
    window.click(&window.find_text("button", "Add app"));
    window.find_text("h3", "wx2");
    window.find_text("code", "T2");
}
