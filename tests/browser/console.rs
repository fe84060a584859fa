//! The console of the control server: actions, the keyboard, sessions and forms of other sites.

use serde_json::json;

use super::chromium::Chromium;
use super::console_server::{APPID, ConsoleServer, GONE, OPENID, PASSWORD};
use super::window::Window;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// Logs in with the keyboard alone.
pub(super) fn log_in(window: &Window, console: &ConsoleServer, name: &str, password: &str) {
    window.open_url(&format!("{}/login", console.base));
    window.find("#name:focus");
    window.press(&format!("{name}{TAB}{password}{ENTER}"));
}

/// A browser in which an operator has logged in.
pub(super) fn logged_in(console: &ConsoleServer, name: &str) -> Chromium {
    let window = Chromium::start();
    log_in(&window, console, name, PASSWORD);
    window.find("nav");
    window
}

/// Moves the focus to this element, with the keyboard alone, and presses it.
fn press(window: &Window, css: &str) {
    tab_to(window, css);
    window.press(ENTER);
}

/// Moves the focus to the element of this selector, with the keyboard alone.
fn tab_to(window: &Window, css: &str) {
    for _ in 0..80 {
        window.press(TAB);
        if window.has(&format!("{css}:focus")) {
            return;
        }
    }
    panic!("the keyboard does not reach {css}");
}

/// Opens a page. The browser finds no fault with it: no policy is violated, and no file is missing.
pub(super) fn open(window: &Window, console: &ConsoleServer, path: &str) {
    window.open_url(&format!("{}{path}", console.base));
    window.find("main");
    assert_eq!(window.browser_log(), json!([]), "{path}");
}

/// The audit has these actions.
fn check_audit(window: &Window, console: &ConsoleServer, actions: &[&str]) {
    window.open_url(&format!("{}/audit", console.base));
    let audit = window.text(&window.find("main"));
    for action in actions {
        assert!(audit.contains(action), "{action}: {audit}");
    }
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn operator_acts_with_the_keyboard_alone() {
    let console = ConsoleServer::start("");
    let undecided = console.undecided(1);
    let queued = console.enqueue(2, "Parcel");
    console.pass(121);
    let window = logged_in(&console, "ops");

    press(&window, "a[href='/workers']");
    window.find("form[action='/workers/pause']");
    tab_to(&window, "input[name=note]");
    window.press(&format!("wrong text{ENTER}"));
    window.find("form[action='/workers/resume']");
    assert!(window.text(&window.find("main")).contains("paused by an operator"));
    press(&window, "form[action='/workers/resume'] button");
    window.find("form[action='/workers/pause']");
    assert!(!window.has("form[action='/workers/resume']"));

    window.open_url(&format!("{}/outbox/{queued}", console.base));
    assert!(!window.text(&window.find("main")).contains(OPENID));
    press(&window, "form[action$='/reveal'] button");
    assert_eq!(window.text(&window.find("code.address")), OPENID);
    press(&window, "form[action$='/cancel'] button");
    window.find_text("span", "cancelled");

    press(&window, "a[href='/decisions']");
    press(&window, "button[value=give_up]");
    assert_eq!(window.text(&window.find("p.note")), "The decision is recorded.");
    window.open_url(&format!("{}/outbox/{undecided}", console.base));
    assert!(window.text(&window.find("main")).contains("give_up"));

    let actions = ["paused an app", "resumed an app", "revealed an openid", "cancelled a message", "decided"];
    check_audit(&window, &console, &actions);
    press(&window, "form[action='/logout'] button");
    window.find("#password");
    window.open_url(&format!("{}/audit", console.base));
    window.find("#password");
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn webhooks_and_grants_need_the_keyboard_alone() {
    let console = ConsoleServer::start("");
    console.set_endpoints(&["shop"]);
    console.refused(1, "user refuse to accept the msg");
    console.settle_deliveries("shop", &GONE);
    let window = logged_in(&console, "ops");

    press(&window, "a[href='/webhooks']");
    window.find_text("span", "disabled");
    press(&window, "form[action='/webhooks/redeliver'] button");
    assert!(window.text(&window.find("p.note")).contains("are due now"));
    window.find_text("span", "ok");

    press(&window, "a[href='/grants']");
    tab_to(&window, "#openid");
    console.consent(3);
    window.press(&format!("{OPENID}{ENTER}"));
    press(&window, "form[action$='/void'] button");

    window.find("main:not(:has(form[action$='/void']))");
    check_audit(&window, &console, &["voided a grant", "delivered webhooks again"]);
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn wrong_password_and_ended_session_lead_to_the_login() {
    let console = ConsoleServer::start("/wxsub");
    let window = Chromium::start();
    log_in(&window, &console, "ops", "wrong");
    assert_eq!(window.text(&window.find("p.bad")), "Name or password is wrong.");
    // The browser notes the refusal.
    window.browser_log();
    log_in(&window, &console, "ops", PASSWORD);
    window.find("nav");
    assert_eq!(window.url(), format!("{}/", console.base));
    open(&window, &console, "/workers");
    console.pass(30 * 60);
    window.click(&window.find("form[action$='/workers/pause'] button"));
    assert!(window.text(&window.find("p.note")).contains("nothing was done"));
    open(&window, &console, "/workers?x=1");
    window.find("#name:focus");
    window.press(&format!("ops{TAB}{PASSWORD}{ENTER}"));
    window.find("form[action$='/workers/pause']");
    assert!(!window.has("form[action$='/workers/resume']"), "nothing was paused");
    assert_eq!(window.url(), format!("{}/workers?x=1", console.base));
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn form_of_another_site_does_nothing() {
    let console = ConsoleServer::start("");
    let window = logged_in(&console, "ops");
    open(&window, &console, "/workers");
    let token = "return document.querySelector('[name=token]').value";
    let token = window.run_script(token).as_str().unwrap().to_owned();
    // Even with the right token.
    window.open_url("about:blank");
    let form = format!(
        "document.body.innerHTML = '<form method=post action=\"{}/workers/pause\"><input name=token value={token}>\
         <input name=app value={APPID}></form>'; document.forms[0].submit()",
        console.base
    );
    window.run_script(&form);
    window.find("[role=alert]");
    // The browser notes the refusal.
    window.browser_log();
    open(&window, &console, "/workers");
    assert!(!window.has("form[action='/workers/resume']"), "nothing was paused");
}

#[test]
#[ignore = "needs Chromium and ChromeDriver: scripts/test runs it"]
fn form_with_a_forged_token_does_nothing() {
    let console = ConsoleServer::start("");
    let undecided = console.undecided(1);
    console.pass(121);
    let window = logged_in(&console, "ops");
    for (page, form, done) in [
        ("/workers", "form[action='/workers/pause']", "form[action='/workers/resume']"),
        (&format!("/outbox/{undecided}"), "form[action$='/reveal']", "code.address"),
        ("/", "form[action='/logout']", "#password"),
    ] {
        open(&window, &console, page);
        window.run_script(&format!("document.querySelector(\"{form} [name=token]\").value = '0'.repeat(64)"));
        window.click(&window.find(&format!("{form} button")));
        assert!(window.text(&window.find("[role=alert]")).contains("not of this session"), "{page}");
        // The browser notes the refusal.
        window.browser_log();
        open(&window, &console, page);
        assert!(!window.has(done), "{page}");
    }
}
