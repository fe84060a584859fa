//! A sandbox on a port, with one app.

use std::future::pending;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wxsub_proto::{ConsentAction, ConsentRequest, OpenId};
use wxsub_sandbox::{Fault, Sandbox, http};

use super::wxsub::{Wxsub, wxsub};

pub(crate) const APPID: &str = "wx0123456789abcdef";
pub(crate) const SECRET: &str = "PLANTED-secret-0123456789abcdef";
/// Some ids begin with a hyphen.
pub(crate) const TEMPLATE: &str = "-TEMPLATE_1";
pub(crate) const SEND: &str = "/cgi-bin/message/template/subscribe";
pub(crate) const STABLE_TOKEN: &str = "/cgi-bin/stable_token";
pub(crate) const CLASSIC_TOKEN: &str = "/cgi-bin/token";

/// The sandbox. It ends when this is dropped.
pub(crate) struct Weixin {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    _runtime: Runtime,
}

/// A sandbox with one app.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add_app(APPID.parse().unwrap(), SECRET.parse().unwrap(), [TEMPLATE.parse().unwrap()]);
    sandbox
}

/// The user of this openid allows one message.
pub(crate) fn allow(sandbox: &Sandbox, openid: &str, scene: u16) {
    let request = ConsentRequest::new(APPID, TEMPLATE, scene).unwrap();
    sandbox.consent(request, ConsentAction::Confirm { openid: openid.parse().unwrap() }).unwrap();
}

/// A call as the app of the sandbox at `base`.
pub(crate) fn pointed_at(base: &str, call: Wxsub) -> Wxsub {
    call.env("WXSUB_API_BASE", base).env("WXSUB_APPID", APPID).env("WXSUB_SECRET", SECRET)
}

impl Weixin {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = sandbox();
        runtime.spawn(http::serve(listener, sandbox.clone(), pending()));
        Self { sandbox, base, _runtime: runtime }
    }

    /// A call of the binary as this app.
    pub(crate) fn call<const N: usize>(&self, arguments: [&str; N]) -> Wxsub {
        pointed_at(&self.base, wxsub(arguments))
    }

    /// A message to this user, as flags.
    pub(crate) fn send(&self, openid: &str, scene: &str) -> Wxsub {
        self.call(["send", "--to", openid, "--template", TEMPLATE, "--scene", scene]).args([
            "--title",
            "Parcel",
            "--content",
            "It is here.",
        ])
    }

    pub(crate) fn allow(&self, openid: &str, scene: u16) -> &Self {
        allow(&self.sandbox, openid, scene);
        self
    }

    pub(crate) fn fault(&self, path: &str, fault: Fault) -> &Self {
        self.sandbox.add_fault(path, 1, fault);
        self
    }

    /// How many requests reached this path.
    pub(crate) fn seen(&self, path: &str) -> u64 {
        self.sandbox.event_log().request_count(path)
    }

    /// How many requests reached any path.
    pub(crate) fn seen_any(&self) -> u64 {
        self.sandbox.event_log().requests.values().sum()
    }

    /// The texts of the messages this user received.
    pub(crate) fn received(&self, openid: &str) -> Vec<String> {
        let openid: OpenId = openid.parse().unwrap();
        let mailbox = self.sandbox.mailbox(&openid);
        mailbox
            .iter()
            .map(|message| message.body["data"]["content"]["value"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// One message as a line of a file.
pub(crate) fn line(openid: &str, scene: u16, content: &str) -> String {
    format!(
        r#"{{"touser":"{openid}","template_id":"{TEMPLATE}","scene":"{scene}","title":"Parcel","data":{{"content":{{"value":"{content}"}}}}}}"#
    )
}

/// A base URL without a server.
pub(crate) const UNUSED_BASE: &str = "http://127.0.0.1:1";
