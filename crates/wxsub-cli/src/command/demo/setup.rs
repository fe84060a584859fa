//! Where the story plays: a sandbox behind a real port, and an app that calls it.

use std::fmt::Display;
use std::future::pending;
use std::sync::Arc;

use tokio::net::TcpListener;
use wxsub_core::consent::SigningKey;
use wxsub_core::token::TokenEndpoint;
use wxsub_core::{Client, ConsentVerifier};
use wxsub_proto::{AppId, AppSecret, BaseUrl, HttpUrl, Scene, TemplateId};
use wxsub_reqwest::{ReqwestTransport, Roots};
use wxsub_sandbox::{Sandbox, http};

use super::reporter::Outcome;

/// The people and things of the story.
pub(super) struct Stage {
    /// The Weixin.
    pub(super) sandbox: Sandbox,
    /// Where it is.
    pub(super) base: BaseUrl,
    /// The app,
    pub(super) appid: AppId,
    /// its template,
    pub(super) template_id: TemplateId,
    /// the occasion,
    pub(super) scene: Scene,
    /// and where users come back to.
    pub(super) back: HttpUrl,
    /// What the app sends with.
    pub(super) client: Client,
    /// What it tells genuine answers from forged ones with.
    pub(super) guard: ConsentVerifier,
}

impl Stage {
    /// Sets it up. The sandbox ends with the process.
    pub(super) async fn set() -> Outcome<Self> {
        let appid: AppId = read("wx0123456789abcdef".parse())?;
        let secret: AppSecret = read("play-money-0123456789abcdef".parse())?;
        let template_id: TemplateId = read("7YuTL__ilzyZB9DXcDt2mHx".parse())?;
        let key = read(SigningKey::new(b"a key for a demo, not for the world"))?;
        let sandbox = Sandbox::new();
        sandbox.add_app(appid.clone(), secret.clone(), [template_id.clone()]);

        let listener = read(TcpListener::bind("127.0.0.1:0").await)?;
        let base = read(BaseUrl::new(&format!("http://{}", read(listener.local_addr())?)))?;
        tokio::spawn(http::serve(listener, sandbox.clone(), pending()));

        let transport = read(ReqwestTransport::builder().roots(Roots::Bundled).build())?;
        let client = Client::builder(appid.clone(), secret, Arc::new(transport))
            .api_base(base.clone())
            .token_cache(|keeper| keeper.endpoint(TokenEndpoint::Token))
            .build();
        let guard = ConsentVerifier::new(appid.clone(), key);
        let (scene, back) = (read(Scene::new(1000))?, read("https://shop.example/back?order=7".parse())?);
        let told = format!("a Weixin is running inside this process, at {base}");
        Ok((Self { sandbox, base, appid, template_id, scene, back, client, guard }, told))
    }
}

/// A value of the story; that it cannot be had would be a bug, or a machine without a free port.
pub(super) fn read<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
