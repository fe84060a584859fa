//! A sandbox with one app, on a manual clock.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::{AppId, AppSecret, ConsentAction, ConsentRequest};
use wxsub_sandbox::{AppSettings, Response, Sandbox};

pub(crate) const TOKEN: &str = "/cgi-bin/token";
pub(crate) const STABLE: &str = "/cgi-bin/stable_token";
pub(crate) const SEND: &str = "/cgi-bin/message/template/subscribe";
pub(crate) const SECRET: &str = "test-secret";
/// 2023-11-14 22:13:20 UTC. In Beijing it is 06:13:20 on the next day.
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

    pub(crate) fn response(&self, method: &str, target: &str, body: &str) -> Response {
        let exchange = self.0.handle(method, target, body.as_bytes());
        assert!(exchange.delay.is_zero());
        exchange.outcome.unwrap()
    }

    /// Sends a request to Weixin's API. Every response has status 200 and JSON.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> Value {
        self.ask_from([127, 0, 0, 1].into(), method, target, body)
    }

    pub(crate) fn ask_from(&self, caller: IpAddr, method: &str, target: &str, body: &str) -> Value {
        let exchange = self.0.handle_from(caller, method, target, body.as_bytes());
        let response = exchange.outcome.unwrap();
        assert_eq!((response.status, response.content_type), (200, "application/json; encoding=utf-8"));
        serde_json::from_slice(&response.body).unwrap()
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

    /// The errcode of a request with this token, 0 if the token is valid.
    pub(crate) fn token_errcode(&self, token: &str) -> i64 {
        code(&self.ask("GET", &format!("/cgi-bin/get_api_domain_ip?access_token={token}"), ""))
    }

    /// The HTTP status of a request with this token.
    pub(crate) fn token_status(&self, token: &str) -> u16 {
        self.response("GET", &format!("/cgi-bin/get_api_domain_ip?access_token={token}"), "").status
    }

    pub(crate) fn grant(&self, openid: &str, template: &str, scene: &str) {
        let openid = openid.parse().unwrap();
        self.0.consent(request(template, scene), ConsentAction::Confirm { openid }).unwrap();
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
    ConsentRequest::new(appid(), template, scene).unwrap()
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

/// The errcode of a response, 0 if it has none.
pub(crate) fn code(response: &Value) -> i64 {
    response.get("errcode").map_or(0, |code| code.as_i64().unwrap())
}

/// The errmsg of a response, without the `rid`.
pub(crate) fn errmsg(response: &Value) -> &str {
    let errmsg = response["errmsg"].as_str().unwrap();
    errmsg.split(" rid: ").next().unwrap()
}

pub(crate) fn text(response: &Value) -> String {
    response["access_token"].as_str().unwrap_or_else(|| panic!("{response}")).to_owned()
}

pub(crate) fn lifetime(response: &Value) -> u64 {
    response["expires_in"].as_u64().unwrap()
}
