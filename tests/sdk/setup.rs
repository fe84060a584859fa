//! A sandbox in place of Weixin, and a control server that uses it, both on loopback.

use std::future::pending;
use std::ops::Deref;

use serde_json::Value;
use tokio::net::TcpListener;
use wxsub_hyper::ApiKey;
use wxsub_sandbox::Sandbox;
use wxsub_server::{ApiKeyDigest, Config, Server};
use wxsub_tests::{SECRET, Weixin, app, serve};

/// The only user. Each scene needs a consent.
pub(super) const USER: &str = "oUser";

/// The servers end with the test.
pub(super) struct Setup {
    sandbox: Weixin,
    pub(super) weixin: String,
    pub(super) server: String,
}

impl Deref for Setup {
    type Target = Weixin;

    fn deref(&self) -> &Weixin {
        &self.sandbox
    }
}

impl Setup {
    pub(super) async fn start() -> Self {
        let sandbox = Weixin::new(Sandbox::new());
        let weixin = format!("http://{}", serve(&sandbox.sandbox).await);
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { server.serve(listener, None, pending()).await });
        Self { sandbox, weixin, server: base }
    }

    /// The message the user received last.
    pub(super) fn last_received(&self) -> Value {
        let received = self.sandbox.sandbox.mailbox(&USER.parse().unwrap());
        serde_json::to_value(received.last().unwrap()).unwrap()
    }
}

/// The key that the server knows.
pub(super) fn key() -> String {
    "k".repeat(ApiKey::LENGTH)
}
