//! A sandbox in Weixin's place and a control server before it, both on loopback.

use std::future::pending;

use serde_json::Value;
use tokio::net::TcpListener;
use wxsub_core::proto::{ConsentAction, ConsentRequest, Scene};
use wxsub_core::token::ApiKey;
use wxsub_sandbox::{Sandbox, http};
use wxsub_server::{ApiKeyDigest, Config, Server};
use wxsub_tests::{SECRET, app, template};

/// The one user, who consents to a message in as many scenes as a story needs.
const USER: &str = "oUser";

/// They end with the test.
pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    pub(super) weixin: String,
    pub(super) server: String,
}

impl Stage {
    pub(super) async fn open() -> Self {
        let sandbox = Sandbox::new();
        sandbox.add_app(app(), SECRET.parse().unwrap(), [template()]);
        let (listener, weixin) = listen().await;
        tokio::spawn(http::serve(listener, sandbox.clone(), pending()));

        let digest = ApiKeyDigest::of(&ApiKey::new(key()).unwrap());
        let config = format!(
            "audit = \"off\"\n\
             [[apps]]\nappid = \"{}\"\nsecret_env = \"SECRET\"\napi_base = \"{weixin}\"\n\
             [[clients]]\nname = \"orders\"\nkey_sha256 = \"{digest}\"\napps = [\"*\"]\nscopes = [\"token:read\"]\n",
            app()
        );
        let (config, _) = Config::read(&config, |_| Some(SECRET.to_owned())).unwrap();
        let server = Server::builder(config).build().await.unwrap();
        let (listener, base) = listen().await;
        tokio::spawn(async move { server.serve(listener, None, pending()).await });
        Self { sandbox, weixin, server: base }
    }

    pub(super) fn user_allows(&self, scene: u16) {
        let request = ConsentRequest::new(app(), template(), Scene::new(scene).unwrap());
        self.sandbox.consent(request, ConsentAction::Confirm { openid: USER.parse().unwrap() }).unwrap();
    }

    pub(super) fn stranger_kills_the_token(&self) {
        self.sandbox.invalidate_tokens(&app()).unwrap();
    }

    /// How many messages the user has received.
    pub(super) fn received(&self) -> usize {
        self.sandbox.mailbox(&USER.parse().unwrap()).len()
    }

    /// The message the user received last.
    pub(super) fn last_received(&self) -> Value {
        let received = self.sandbox.mailbox(&USER.parse().unwrap());
        serde_json::to_value(received.last().unwrap()).unwrap()
    }

    /// How many requests to this path Weixin has seen.
    pub(super) fn seen(&self, path: &str) -> u64 {
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
