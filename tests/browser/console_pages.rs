//! Every page of the console: on every screen, in both languages, for a screen reader, with hostile texts, and behind a proxy.

use serde_json::json;
use wxsub_outbox::webhook::DeliveryOutcome;

use super::chromium::{Chromium, Size};
use super::console::{log_in, logged_in, open};
use super::console_server::{APPID, ConsoleServer, GONE, OPENID, PASSWORD};
use super::proxy::Proxy;
use super::window::Window;

/// What an attacker could write wherever a text from outside is shown.
const HOSTILE: &str = "<script>document.title='x'</script><img src=x>\u{202e}\u{2066}'\"&lt;";

/// A console with something on every page, and the paths of all pages.
fn filled(console: &ConsoleServer, title: &str, content: &str, text: &str) -> Vec<(&'static str, String)> {
    console.set_endpoints(&["shop", "crm"]);
    let undecided = console.undecided(1);
    let error = format!("status 503{text}");
    console.settle_deliveries("shop", &DeliveryOutcome::Failed { error, retry_after: None });
    console.settle_deliveries("crm", &GONE);
    let refused = console.refused(2, &format!("user refuse to accept the msg{text}"));
    let queued = console.enqueue_with(3, title, content);
    console.pass(121);
    console.block_address();
    vec![
        ("overview", "/".to_owned()),
        ("outbox", "/outbox?from=".to_owned()),
        ("message", format!("/outbox/{queued}")),
        ("undecided", format!("/outbox/{undecided}")),
        ("refused", format!("/outbox/{refused}")),
        ("decisions", "/decisions".to_owned()),
        ("grants", format!("/grants?openid={OPENID}")),
        ("webhooks", "/webhooks".to_owned()),
        ("workers", "/workers".to_owned()),
        ("audit", "/audit".to_owned()),
        ("not-found", "/nothing".to_owned()),
    ]
}

/// The page has no problem that axe-core finds, on a telephone and on a desktop, light and dark.
fn check_accessibility(window: &Chromium, page: &str) {
    for size in [Size::Phone, Size::Desktop] {
        window.set_size(size);
        for is_dark in [true, false] {
            window.set_dark(is_dark);
            let violations = window.accessibility_violations();
            assert_eq!(violations, json!([]), "{page}");
        }
    }
}

/// On a telephone each field of a filter has a line of its own, is high enough for a finger, and does not make the browser zoom in.
fn check_filters(window: &Chromium, page: &str) {
    window.set_size(Size::Phone);
    let unusable = window.run_script(
        "const fields = document.querySelectorAll('form.filter :is(input:not([type=hidden]), select, button)');
         return [...fields].filter(field => {
             const {width, height} = field.getBoundingClientRect();
             return width < field.form.clientWidth - 1 || height < 44 || parseFloat(getComputedStyle(field).fontSize) < 16;
         }).map(field => field.outerHTML);",
    );
    assert_eq!(unusable, json!([]), "{page}");
}

fn switch_language(window: &Window) {
    window.click(&window.find("button[name=language]"));
    window.find("html[lang=zh-CN]");
}

#[test]
#[ignore = "needs Chromium, ChromeDriver, axe-core and nginx: scripts/test runs it"]
fn every_page_fits_every_screen_and_has_no_accessibility_violation_in_both_languages() {
    let console = ConsoleServer::start("");
    let pages = filled(&console, "包裹已到", "请凭取件码领取。", "");
    let window = Chromium::start();
    for language in ["en", "zh"] {
        open(&window, &console, "/login");
        if language == "zh" {
            switch_language(&window);
        }
        window.take_screenshots(&format!("console-login-{language}"));
        check_accessibility(&window, "login");
        log_in(&window, &console, "ops", PASSWORD);
        window.find("section.problem");
        for (name, path) in &pages {
            match *name {
                "not-found" => {
                    window.open_url(&format!("{}{path}", console.base));
                    window.find("[role=alert]");
                    // The browser notes the status.
                    window.browser_log();
                }
                _ => open(&window, &console, path),
            }
            window.take_screenshots(&format!("console-{name}-{language}"));
            check_accessibility(&window, name);
            check_filters(&window, name);
        }
        window.set_size(Size::Phone);
        open(&window, &console, "/");
        let text = window.text(&window.find("section.problem"));
        let remedy = if language == "en" { "IP allow-list" } else { "IP 白名单" };
        for expected in [APPID, "40164", "127.0.0.1", remedy] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        for part in ["code", "strong", ".address", ".do"] {
            let script = format!(
                "return document.querySelector('section.problem {part}').getBoundingClientRect().bottom <= 844"
            );
            assert_eq!(window.run_script(&script), true, "{part} is seen without scrolling");
        }
        window.set_size(Size::Desktop);
        window.click(&window.find("form[action='/logout'] button"));
        window.find("#password");
    }
}

#[test]
#[ignore = "needs Chromium, ChromeDriver, axe-core and nginx: scripts/test runs it"]
fn page_with_accessibility_violations_is_found() {
    let chromium = Chromium::start();
    chromium.open_url("data:text/html,<p style='color:%23eee'>pale</p><input><img src=x>");
    let violations = chromium.accessibility_violations().to_string();
    for rule in ["color-contrast", "document-title", "html-has-lang", "image-alt", "label"] {
        assert!(violations.contains(&format!("\"{rule}\"")), "{rule}: {violations}");
    }
}

#[test]
#[ignore = "needs Chromium, ChromeDriver, axe-core and nginx: scripts/test runs it"]
fn texts_from_outside_stay_text_on_every_page() {
    let console = ConsoleServer::start("");
    let content = format!("{HOSTILE}{}", "😀".repeat(200 - HOSTILE.chars().count()));
    let pages = filled(&console, "<b>\u{202e}😀😀😀😀😀😀😀😀😀😀", &content, HOSTILE);
    let window = logged_in(&console, "ops");
    open(&window, &console, "/workers");
    window.fill(&window.find("input[name=note]"), "<i>\u{202e}😀 wrong");
    window.click(&window.find("form[action='/workers/pause'] button"));
    window.find("form[action='/workers/resume']");
    let query = "%3Cimg%20src=x%3E%22%E2%80%AE";
    let more = ["/grants?openid=", "/login?next=/"].map(|page| ("query", format!("{page}{query}")));
    for (name, path) in pages.into_iter().chain(more) {
        if name == "not-found" {
            continue;
        }
        open(&window, &console, &path);
        let count = window
            .run_script("return document.querySelectorAll('script, img, main b, main i, iframe').length");
        assert_eq!(count, 0, "{path}");
        let text = window.run_script("return document.documentElement.outerHTML");
        assert!(!text.as_str().unwrap().contains(['\u{202e}', '\u{2066}']), "{path}");
        window.set_size(Size::Narrow);
        assert_eq!(window.overflow(), 0, "{path} is too wide for 360 px");
        window.set_size(Size::Desktop);
    }
    for (path, shown) in [("/workers", "<i>"), ("/webhooks", "<script>document.title='x'</script>")] {
        open(&window, &console, path);
        assert!(window.text(&window.find("main")).contains(shown), "{path} shows the text");
    }
}

/// nginx at a sub-path, as operators run it: it keeps the path, or removes it.
#[test]
#[ignore = "needs Chromium, ChromeDriver, axe-core and nginx: scripts/test runs it"]
fn console_works_behind_a_proxy_at_a_sub_path() {
    for keeps_path in [true, false] {
        let (mut proxy, mut base) = (None, String::new());
        let console = ConsoleServer::start_with(|upstream| {
            let started = Proxy::start(upstream, "/ops/wxsub", keeps_path);
            base = format!("http://127.0.0.1:{}/ops/wxsub", started.port);
            proxy = Some(started);
            base.clone()
        });
        let pages = filled(&console, "Parcel", "It is here.", "");
        let window = Chromium::start();
        window.open_url(&format!("{base}/decisions"));
        window.find("#name:focus");
        log_in(&window, &console, "ops", PASSWORD);
        window.find("nav");
        for (_, path) in pages.iter().filter(|(name, _)| *name != "not-found") {
            open(&window, &console, path);
            let foreign = "return [...document.querySelectorAll('a[href], form[action], link[href]')]
                .map(one => one.href || one.action)
                .filter(url => !url.startsWith(arguments[0]))";
            assert_eq!(window.run_script_with(foreign, &base), json!([]), "{path}");
        }
        open(&window, &console, "/workers");
        window.click(&window.find("form[action$='/workers/pause'] button"));
        window.find("form[action$='/workers/resume']");
        assert_eq!(window.url(), format!("{base}/workers"));
        open(&window, &console, "/decisions");
        window.click(&window.find("button[value=give_up]"));
        window.find("p.note");
        switch_language(&window);
        assert_eq!(window.url(), format!("{base}/"));
        window.click(&window.find("form[action$='/logout'] button"));
        window.find("#password");
        assert_eq!(window.url(), format!("{base}/login"));
        drop(proxy);
    }
}
