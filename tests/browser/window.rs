//! One browser window, and as much of the WebDriver protocol as the stories need.

use serde_json::{Value, json};

use super::exchange::exchange;

/// The name under which WebDriver hands over elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How long the driver itself looks for an element before it says that there is none.
const PATIENCE_MS: u64 = 15_000;

/// One browser window.
pub(super) struct Window {
    port: u16,
    session: String,
}

impl Window {
    /// Opens one with these capabilities, at a driver on this port.
    pub(super) fn open(port: u16, capabilities: &Value) -> Self {
        let asked = json!({"capabilities": {"alwaysMatch": capabilities}});
        let opened = command(port, "POST", "/session", &asked);
        let window = Self { port, session: opened["sessionId"].as_str().unwrap().to_owned() };
        window.post("/timeouts", &json!({"implicit": PATIENCE_MS}));
        window
    }

    pub(super) fn go(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    pub(super) fn url(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    /// Waits for the element that this CSS selector finds.
    pub(super) fn find(&self, css: &str) -> String {
        self.locate("css selector", css)
    }

    /// Whether there is such an element, without waiting for one.
    pub(super) fn has(&self, css: &str) -> bool {
        let script = json!({"script": "return document.querySelector(arguments[0]) !== null", "args": [css]});
        self.post("/execute/sync", &script) == json!(true)
    }

    /// How much wider the page is than the window, in CSS pixels.
    pub(super) fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.post("/execute/sync", &json!({"script": script, "args": []})).as_i64().unwrap()
    }

    /// Presses keys, wherever the focus is.
    pub(super) fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let actions = json!([{"type": "key", "id": "keys", "actions": strokes.collect::<Vec<_>>()}]);
        self.post("/actions", &json!({"actions": actions}));
    }

    /// Waits for the element of this kind that shows just this text.
    pub(super) fn showing(&self, tag: &str, text: &str) -> String {
        self.locate("xpath", &format!("//{tag}[normalize-space(.)='{text}']"))
    }

    fn locate(&self, using: &str, value: &str) -> String {
        let found = self.post("/element", &json!({"using": using, "value": value}));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub(super) fn click(&self, element: &str) {
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Replaces what a field holds.
    pub(super) fn fill(&self, element: &str, text: &str) {
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// What a person sees of it, line breaks included.
    pub(super) fn text(&self, element: &str) -> String {
        self.get(&format!("/element/{element}/text")).as_str().unwrap().to_owned()
    }

    pub(super) fn color(&self, element: &str) -> String {
        self.get(&format!("/element/{element}/css/color")).as_str().unwrap().to_owned()
    }

    /// What the browser complained about since it was last asked: broken policies, missing files, errors of scripts.
    pub(super) fn complaints(&self) -> Value {
        self.post("/se/log", &json!({"type": "browser"}))
    }

    /// A command of Chromium's own.
    pub(super) fn chromium(&self, name: &str, params: &Value) -> Value {
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
    /// Ends the browser with its window.
    fn drop(&mut self) {
        let _ = exchange(self.port, "DELETE", &format!("/session/{}", self.session), "");
    }
}

fn command(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = exchange(port, method, path, &body).unwrap();
    let mut answer: Value = serde_json::from_str(&reply).unwrap_or_else(|_| panic!("{path}: {reply}"));
    let value = answer["value"].take();
    assert!(value.get("error").is_none(), "{method} {path} {body}: {} {}", value["error"], value["message"]);
    value
}
