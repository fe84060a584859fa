//! A sandbox with one app, on a clock that only moves by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::{Action, AppId, AppSecret, ConsentRequest};
use wxsub_sandbox::{AppSettings, Response, Sandbox};

pub(crate) const TOKEN: &str = "/cgi-bin/token";
pub(crate) const STABLE: &str = "/cgi-bin/stable_token";
pub(crate) const SEND: &str = "/cgi-bin/message/template/subscribe";
pub(crate) const SECRET: &str = "play-money";
/// 2023-11-14 22:13:20 UTC: half past six in the morning in Beijing.
pub(crate) const START: u64 = 1_700_000_000;

pub(crate) struct Weixin(pub(crate) Sandbox);

impl Weixin {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::with_clock(Arc::new(|| Duration::from_secs(START)));
        let templates = ["T", "U"].map(|template| template.parse().unwrap());
        sandbox.add_app(appid(), AppSecret::new(SECRET).unwrap(), templates);
        Self(sandbox)
    }

    pub(crate) fn with(change: impl FnOnce(&mut AppSettings)) -> Self {
        let weixin = Self::new();
        let mut settings = weixin.0.settings(&appid()).unwrap();
        change(&mut settings);
        weixin.0.configure(&appid(), settings).unwrap();
        weixin
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn reply(&self, method: &str, target: &str, body: &str) -> Response {
        let handled = self.0.handle(method, target, body.as_bytes());
        assert!(handled.delay.is_zero());
        handled.outcome.unwrap()
    }

    /// Asks Weixin's API, which always answers with status 200 and JSON.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> Value {
        self.ask_from([127, 0, 0, 1].into(), method, target, body)
    }

    pub(crate) fn ask_from(&self, caller: IpAddr, method: &str, target: &str, body: &str) -> Value {
        let handled = self.0.handle_from(caller, method, target, body.as_bytes());
        let reply = handled.outcome.unwrap();
        assert_eq!((reply.status, reply.content_type), (200, "application/json; encoding=utf-8"));
        serde_json::from_slice(&reply.body).unwrap()
    }

    pub(crate) fn fetch(&self) -> Value {
        self.ask("GET", &token_target(), "")
    }

    pub(crate) fn token(&self) -> String {
        text(&self.fetch())
    }

    pub(crate) fn stable(&self, force: bool) -> Value {
        self.ask("POST", STABLE, &stable_body(force).to_string())
    }

    /// What the token is worth: the errcode of the cheapest call there is, 0 if it is good.
    pub(crate) fn worth(&self, token: &str) -> i64 {
        code(&self.ask("GET", &format!("/cgi-bin/get_api_domain_ip?access_token={token}"), ""))
    }

    pub(crate) fn grant(&self, openid: &str, template: &str, scene: &str) {
        let openid = openid.parse().unwrap();
        self.0.consent(request(template, scene), Action::Confirm { openid }).unwrap();
    }

    pub(crate) fn send(&self, token: &str, message: &Value) -> Value {
        self.ask("POST", &format!("{SEND}?access_token={token}"), &message.to_string())
    }

    pub(crate) fn mailbox(&self, openid: &str) -> Vec<Value> {
        let received = self.0.mailbox(&openid.parse().unwrap());
        received.iter().map(|received| json!(received)).collect()
    }
}

pub(crate) fn appid() -> AppId {
    "wx0123456789abcdef".parse().unwrap()
}

pub(crate) fn request(template: &str, scene: &str) -> ConsentRequest {
    ConsentRequest::new(appid(), template.parse().unwrap(), scene.parse().unwrap())
}

pub(crate) fn token_target() -> String {
    format!("{TOKEN}?grant_type=client_credential&appid={}&secret={SECRET}", appid())
}

pub(crate) fn stable_body(force: bool) -> Value {
    json!({"grant_type": "client_credential", "appid": appid(), "secret": SECRET, "force_refresh": force})
}

pub(crate) fn message() -> Value {
    json!({"touser": "oUser", "template_id": "T", "scene": "7", "title": "Parcel",
           "data": {"content": {"value": "It is here.", "color": "#07C160"}}})
}

/// The errcode of an answer, 0 where there is none.
pub(crate) fn code(answer: &Value) -> i64 {
    answer.get("errcode").map_or(0, |code| code.as_i64().unwrap())
}

/// The text of an answer without its `rid`.
pub(crate) fn errmsg(answer: &Value) -> &str {
    let errmsg = answer["errmsg"].as_str().unwrap();
    errmsg.split(" rid: ").next().unwrap()
}

pub(crate) fn text(answer: &Value) -> String {
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

pub(crate) fn life(answer: &Value) -> u64 {
    answer["expires_in"].as_u64().unwrap()
}
