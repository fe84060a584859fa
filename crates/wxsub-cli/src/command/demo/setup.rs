//! A sandbox on a port of this machine, and an app that calls it.

use std::fmt::Display;
use std::future::pending;

use tokio::net::TcpListener;
use wxsub_core::consent::SigningKey;
use wxsub_core::token::TokenEndpoint;
use wxsub_core::{Client, ConsentVerifier};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_proto::{AppId, AppSecret, BaseUrl, HttpUrl, Scene, TemplateId};
use wxsub_sandbox::{Sandbox, http};

use super::reporter::StepResult;

/// The sandbox and the app of the demo.
pub(super) struct Setup {
    /// The sandbox.
    pub(super) sandbox: Sandbox,
    /// Base URL of the sandbox.
    pub(super) base: BaseUrl,
    /// The app.
    pub(super) appid: AppId,
    /// Template of the app.
    pub(super) template_id: TemplateId,
    /// Scene of the consent.
    pub(super) scene: Scene,
    /// Callback URL of the app.
    pub(super) redirect_url: HttpUrl,
    /// Sends the messages of the app.
    pub(super) client: Client,
    /// Issues consent requests and verifies callbacks.
    pub(super) verifier: ConsentVerifier,
}

impl Setup {
    /// Starts the sandbox, which runs until the process ends, and creates the app.
    pub(super) async fn start() -> StepResult<Self> {
        let appid: AppId = text_err("wx0123456789abcdef".parse())?;
        let secret: AppSecret = text_err("play-money-0123456789abcdef".parse())?;
        let template_id: TemplateId = text_err("7YuTL__ilzyZB9DXcDt2mHx".parse())?;
        let key = text_err(SigningKey::new(b"a key for a demo, not for the world"))?;
        let sandbox = Sandbox::new();
        sandbox.add_app(appid.clone(), secret.clone(), [template_id.clone()]);

        let listener = text_err(TcpListener::bind("127.0.0.1:0").await)?;
        let base = text_err(BaseUrl::new(&format!("http://{}", text_err(listener.local_addr())?)))?;
        tokio::spawn(http::serve(listener, sandbox.clone(), pending()));

        let transport = text_err(HyperTransport::builder().roots(Roots::Bundled).build())?;
        let client = Client::builder(appid.clone(), secret, transport)
            .api_base(base.clone())
            .token_cache(|cache| cache.endpoint(TokenEndpoint::Token));
        let client = text_err(client.build())?;
        let verifier = ConsentVerifier::new(appid.clone(), key);
        let scene = text_err(Scene::new(1000))?;
        let redirect_url = text_err("https://shop.example/back?order=7".parse())?;
        let detail = format!("the sandbox runs inside this process at {base}");
        Ok((Self { sandbox, base, appid, template_id, scene, redirect_url, client, verifier }, detail))
    }
}

/// Turns the error into its text.
pub(super) fn text_err<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
