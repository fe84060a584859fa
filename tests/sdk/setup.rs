//! A sandbox in place of Weixin, and a control server that uses it, both on loopback.

use std::future::pending;

use serde_json::Value;
use tokio::net::TcpListener;
use wxsub_core::proto::{ConsentAction, ConsentRequest};
use wxsub_hyper::ApiKey;
use wxsub_sandbox::{Sandbox, http};
use wxsub_server::{ApiKeyDigest, Config, Server};
use wxsub_tests::{SECRET, app, template};

/// The only user. Each scene needs a consent.
const USER: &str = "oUser";

/// The servers end with the test.
pub(super) struct Setup {
    pub(super) sandbox: Sandbox,
    pub(super) weixin: String,
    pub(super) server: String,
}

impl Setup {
    pub(super) async fn start() -> Self {
        let sandbox = Sandbox::new();
        sandbox.add_app(app(), SECRET.parse().unwrap(), [template()]);
        let (listener, weixin) = listen().await;
        tokio::spawn(http::serve(listener, sandbox.clone(), pending()));

        let digest = ApiKeyDigest::of(&ApiKey::new(key()).unwrap());
        let config = format!(
            "audit = \"off\"\n\
             [[apps]]\nappid = \"{}\"\nsecret_env = \"SECRET\"\ntoken_endpoint = \"token\"\n\
             api_base = \"{weixin}\"\n\
             [[clients]]\nname = \"orders\"\nkey_sha256 = \"{digest}\"\napps = [\"*\"]\nscopes = [\"token:read\"]\n",
            app()
        );
        let (config, _) = Config::read(&config, |_| Some(SECRET.to_owned())).unwrap();
        let server = Server::builder(config).build().await.unwrap();
        let (listener, base) = listen().await;
        tokio::spawn(async move { server.serve(listener, None, pending()).await });
        Self { sandbox, weixin, server: base }
    }

    pub(super) fn consent(&self, scene: u16) {
        let request = ConsentRequest::new(app(), template(), scene).unwrap();
        self.sandbox.consent(request, ConsentAction::Confirm { openid: USER.parse().unwrap() }).unwrap();
    }

    pub(super) fn invalidate_tokens(&self) {
        self.sandbox.invalidate_tokens(&app()).unwrap();
    }

    /// How many messages the user has received.
    pub(super) fn received_count(&self) -> usize {
        self.sandbox.mailbox(&USER.parse().unwrap()).len()
    }

    /// The message the user received last.
    pub(super) fn last_received(&self) -> Value {
        let received_count = self.sandbox.mailbox(&USER.parse().unwrap());
        serde_json::to_value(received_count.last().unwrap()).unwrap()
    }

    /// How many requests to this path the sandbox has received.
    pub(super) fn request_count(&self, path: &str) -> u64 {
        self.sandbox.event_log().request_count(path)
    }
}

/// The key that the server knows.
pub(super) fn key() -> String {
    "k".repeat(ApiKey::LENGTH)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    (listener, base)
}
