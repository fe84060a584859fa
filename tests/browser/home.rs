//! The home page: shows what happens, and has a handle on everything.

use serde_json::json;

use super::chromium::{Chromium, Size};
use super::wxsub::{Sandbox, TEMPLATE, USER};

const SEND: &str = "/cgi-bin/message/template/subscribe";

/// The first story of somebody who has just started the sandbox: everything by clicking.
#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn what_happens_is_seen_without_a_reload() {
    let sandbox = Sandbox::start();
    let chromium = Chromium::start("live");
    let window = chromium.window();
    window.go(&sandbox.base);
    let home = window.url();
    chromium.photograph("home-empty");

    // The ready-made link leads to the consent page, and back to a page that shows the answer.
    chromium.size(Size::Phone);
    window.click(&window.showing("a", "Open consent page"));
    window.click(&window.find("button[value=confirm]"));
    let told = window.text(&window.find("#callback"));
    assert!(told.contains(USER) && told.contains("fromTheHomePage"), "{told}");
    assert!(
        window.text(&window.find("pre")).starts_with(&format!("wxsub answer '{home}callback?openid={USER}&"))
    );
    chromium.photograph("answer");
    window.click(&window.showing("a", "Back to the home page"));
    assert_eq!(window.url(), home);
    assert!(window.text(&window.find(".grants")).contains("scene 1000"));

    // What is done elsewhere appears by itself.
    let content = "Your parcel is at the counter.\n取件码 42-1-8033";
    assert_eq!(sandbox.send(USER, "1000", "取件通知 Parcel", content), Some(0));
    assert_eq!(window.text(&window.find(".message .content")), content);
    assert_eq!(sandbox.send(USER, "1000", "Again", "Again"), Some(3));
    window.showing("span", "43101");
    assert_eq!(window.complaints(), json!([]));

    window.click(&window.find("option[value=errcode]"));
    window.fill(&window.find("input[name=path]"), SEND);
    window.fill(&window.find("input[name=number]"), "45009");
    window.fill(&window.find("input[name=times]"), "3");
    window.click(&window.showing("button", "Add fault"));
    window.find(".alert");
    window.go(&home);
    chromium.photograph("home");
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn faults_are_switched_on_and_off_without_scripts() {
    let sandbox = Sandbox::start();
    let chromium = Chromium::start("faults");
    chromium.without_scripts();
    let window = chromium.window();
    window.go(&sandbox.base);

    window.fill(&window.find("input[name=path]"), SEND);
    window.fill(&window.find("input[name=number]"), "45009");
    window.click(&window.showing("button", "Add fault"));
    window.showing("p", "Fault added. It applies to the next request for its path.");
    window.showing("li", &format!("errcode 45009 × 1 on {SEND}"));
    // It meets the next send, and only that: there is no consent, so the one after is refused for what it is.
    let refused = |_| {
        sandbox.wxsub(&[
            "send",
            "--to",
            USER,
            "--template",
            TEMPLATE,
            "--scene",
            "7",
            "--title",
            "t",
            "--content",
            "c",
            "--json",
        ])
    };
    let codes = [1, 2].map(refused).map(|output| {
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), told["errcode"].as_i64())
    });
    assert_eq!(codes, [(Some(3), Some(45009)), (Some(3), Some(43101))]);

    window.click(&window.find("option[value=hang]"));
    window.click(&window.showing("button", "Add fault"));
    window.showing("li", "hang × 1 on /cgi-bin/token");
    window.click(&window.showing("button", "Remove all faults"));
    window.showing("p", "All faults removed.");
    window.showing("p", "No fault pending.");
    assert_eq!(sandbox.worth(&sandbox.token()), json!(null));

    window.click(&window.find("option[value=status]"));
    window.fill(&window.find("input[name=number]"), "7");
    window.click(&window.showing("button", "Add fault"));
    window.showing("p", "fault.status: must be a whole number from 200 to 599");
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn the_clock_is_moved_and_strangers_come_without_scripts() {
    let sandbox = Sandbox::start();
    let chromium = Chromium::start("clock");
    chromium.without_scripts();
    let window = chromium.window();
    window.go(&sandbox.base);

    let token = sandbox.token();
    window.click(&window.showing("button", "+2 h"));
    window.showing("p", "Clock moved forward.");
    window.showing("p", "Moved forward by 2 h.");
    assert!(window.url().ends_with("/?done=clock#clock"));
    assert_eq!(sandbox.worth(&token), 42001);

    let token = sandbox.token();
    window.click(&window.showing("button", "Invalidate all tokens"));
    window.showing("p", "All tokens of the app are invalid now.");
    window.showing("span", "tokens invalidated");
    assert_eq!(sandbox.worth(&token), 40001);

    window.click(&window.showing("summary", "Add an app, or replace its secret and templates"));
    for (name, text) in [("appid", "wx2"), ("secret", "s"), ("templates", "T1 T2")] {
        window.fill(&window.find(&format!("#apps .card input[name={name}]")), text);
    }
    window.click(&window.showing("button", "Add app"));
    window.showing("h3", "wx2");
    window.showing("code", "T2");
}
