//! A browser window, with the part of the WebDriver protocol that the tests need.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::exchange::exchange;

/// The key of an element in WebDriver responses.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How long the driver waits for an element.
const FIND_TIMEOUT_MS: u64 = 15_000;

/// One browser window.
pub(super) struct Window {
    port: u16,
    session: String,
}

impl Window {
    /// Opens a window with these capabilities, with the driver on this port.
    pub(super) fn open(port: u16, capabilities: &Value) -> Self {
        let request = json!({"capabilities": {"alwaysMatch": capabilities}});
        let opened = command(port, "POST", "/session", &request);
        let window = Self { port, session: opened["sessionId"].as_str().unwrap().to_owned() };
        window.post("/timeouts", &json!({"implicit": FIND_TIMEOUT_MS}));
        window
    }

    pub(super) fn open_url(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    pub(super) fn url(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    /// Waits for the element of this CSS selector.
    pub(super) fn find(&self, css: &str) -> String {
        self.locate("css selector", css)
    }

    /// Whether there is such an element now.
    pub(super) fn has(&self, css: &str) -> bool {
        self.run_script_with("return document.querySelector(arguments[0]) !== null", css) == json!(true)
    }

    /// By how many CSS pixels the page is wider than the window.
    pub(super) fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.run_script(script).as_i64().unwrap()
    }

    /// Runs a script in the page, and gives its result.
    pub(super) fn run_script(&self, script: &str) -> Value {
        self.run_script_with(script, "")
    }

    /// The same with an argument.
    pub(super) fn run_script_with(&self, script: &str, argument: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": [argument]}))
    }

    /// What axe-core finds wrong with the page: the rule, the element and why. The driver injects it: the policy of a page does
    /// not apply to that.
    pub(super) fn accessibility_violations(&self) -> Value {
        self.run_script(axe_core());
        // Without `preload` it fetches nothing, which the policy would forbid.
        let script = "const done = arguments[arguments.length - 1];
            axe.run({resultTypes: ['violations'], preload: false}).then(
                found => done(found.violations.flatMap(({id, nodes}) =>
                    nodes.map(node => [id, node.target.join(' '), node.failureSummary]))),
                error => done(String(error)))";
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// Presses keys at the current focus.
    pub(super) fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let actions = json!([{"type": "key", "id": "keys", "actions": strokes.collect::<Vec<_>>()}]);
        self.post("/actions", &json!({"actions": actions}));
    }

    /// Waits for the element of this kind with exactly this text.
    pub(super) fn find_text(&self, tag: &str, text: &str) -> String {
        self.locate("xpath", &format!("//{tag}[normalize-space(.)='{text}']"))
    }

    fn locate(&self, using: &str, value: &str) -> String {
        let found = self.post("/element", &json!({"using": using, "value": value}));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub(super) fn click(&self, element: &str) {
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Replaces the content of a field.
    pub(super) fn fill(&self, element: &str, text: &str) {
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// The visible text, with line breaks.
    pub(super) fn text(&self, element: &str) -> String {
        self.get(&format!("/element/{element}/text")).as_str().unwrap().to_owned()
    }

    pub(super) fn color(&self, element: &str) -> String {
        self.get(&format!("/element/{element}/css/color")).as_str().unwrap().to_owned()
    }

    /// The browser log since the last call: policy violations, missing files, script errors.
    pub(super) fn browser_log(&self) -> Value {
        self.post("/se/log", &json!({"type": "browser"}))
    }

    /// A command of the Chrome DevTools protocol.
    pub(super) fn run_devtools_command(&self, name: &str, params: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": name, "params": params}))
    }

    fn get(&self, path: &str) -> Value {
        command(self.port, "GET", &format!("/session/{}{path}", self.session), &Value::Null)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        command(self.port, "POST", &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Window {
    /// Closes the window, which ends the browser.
    fn drop(&mut self) {
        let _ = exchange(self.port, "DELETE", &format!("/session/{}", self.session), "");
    }
}

fn command(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = exchange(port, method, path, &body).unwrap();
    let mut members: Value = serde_json::from_str(&response).unwrap_or_else(|_| panic!("{path}: {response}"));
    let value = members["value"].take();
    assert!(value.get("error").is_none(), "{method} {path} {body}: {} {}", value["error"], value["message"]);
    value
}

/// The script of axe-core, which npm installs in the version of tests/axe/package-lock.json.
#[expect(clippy::disallowed_methods, reason = "the caller of the test says where packages of npm are")]
fn axe_core() -> &'static str {
    static SCRIPT: OnceLock<String> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let folders = std::env::var_os("NODE_PATH").unwrap_or_default();
        let files = std::env::split_paths(&folders).map(|folder| folder.join("axe-core/axe.min.js"));
        let script = files.filter_map(|file| std::fs::read_to_string(file).ok()).next();
        script.expect("axe-core is not in NODE_PATH; scripts/test --all installs it")
    })
}
