//! A small web shop on axum that asks its visitors for consent to one message. An extractor verifies the callback, so that handlers
//! see only verified ones.
//!
//! `cargo run -p wxsub-examples --example axum_consent` acts as a visitor and prints the pages.
//! `cargo run -p wxsub-examples --example axum_consent -- --stay` waits: open the printed address in a browser.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect};
use axum::routing::get;
use tokio::net::TcpListener;
use tower_service::Service;
use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin};
use wxsub_reqwest::{
    BaseUrl, Client, ConsentCallback, ConsentVerifier, HttpUrl, InMemoryNonceStore, Message,
    ReqwestTransport, Scene, SigningKey, TemplateId, VerifiedConsent,
};

/// The state of the shop's handlers.
struct Shop {
    guard: ConsentVerifier,
    nonces: InMemoryNonceStore,
    client: Client,
    template: TemplateId,
    scene: Scene,
    /// The base URL of the consent page: here the sandbox, in production Weixin.
    weixin: BaseUrl,
    /// The callback URL.
    back: HttpUrl,
}

/// A verified callback: it belongs to this visitor's session, is in time, and was not used before.
struct VerifiedCallback(VerifiedConsent);

impl FromRequestParts<Arc<Shop>> for VerifiedCallback {
    type Rejection = (StatusCode, String);

    async fn from_request_parts(parts: &mut Parts, shop: &Arc<Shop>) -> Result<Self, Self::Rejection> {
        let refused = |why: String| (StatusCode::BAD_REQUEST, why);
        let session = session(&parts.headers).ok_or_else(|| refused("no session: begin at /".to_owned()))?;
        let query = parts.uri.query().unwrap_or_default();
        let answer: ConsentCallback = query.parse().map_err(|invalid| refused(format!("{invalid}")))?;
        let verified = shop.guard.verify(&answer, session).map_err(|error| refused(error.to_string()))?;
        match shop.nonces.insert_if_new(&verified.nonce()) {
            true => Ok(Self(verified)),
            false => Err(refused("this answer was used before".to_owned())),
        }
    }
}

/// Makes a session and sends the visitor to Weixin.
async fn ask(State(shop): State<Arc<Shop>>) -> Result<impl IntoResponse, (StatusCode, String)> {
    let failed = |error: &dyn Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let session = format!("{:016x}", getrandom::u64().map_err(|error| failed(&error))?);
    let request =
        shop.guard.issue(shop.template.clone(), shop.scene, &session).map_err(|error| failed(&error))?;
    let link = request
        .consent_url(&shop.back)
        .map_err(|error| failed(&error))?
        .with_base_url(&shop.weixin)
        .to_string();
    // `Lax` sends the cookie when Weixin redirects the visitor back. Add `Secure` where there is TLS.
    let cookie = format!("session={session}; HttpOnly; SameSite=Lax; Path=/");
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to(&link)))
}

/// Handles the callback.
async fn back(
    State(shop): State<Arc<Shop>>,
    VerifiedCallback(verified): VerifiedCallback,
) -> Result<Html<&'static str>, String> {
    let VerifiedConsent::Granted { grant, .. } = verified else {
        return Ok(Html("<p>No message, then."));
    };
    let message = Message::builder(grant).title("Parcel").content("It is on its way.").build();
    let message = message.map_err(|error| error.to_string())?;
    // A real shop stores the grant, and sends when it has something to say.
    shop.client.send(&message).await.map_err(|error| error.to_string())?;
    Ok(Html("<p>Thank you. Look at your Service Notifications."))
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let weixin = Weixin::start().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let transport = ReqwestTransport::new()?;
    let shop = Shop {
        // All servers need the same key. In production it comes from your secrets.
        guard: ConsentVerifier::new(APPID.parse()?, SigningKey::new(b"sixteen random bytes or more")?),
        nonces: InMemoryNonceStore::new(),
        client: Client::builder(APPID, SECRET, transport).api_base(weixin.base.clone()).build()?,
        template: TEMPLATE.parse()?,
        scene: Scene::new(1000)?,
        weixin: weixin.base.clone(),
        back: format!("{address}/back").parse()?,
    };
    let app = Router::new().route("/", get(ask)).route("/back", get(back)).with_state(Arc::new(shop));
    if std::env::args().any(|argument| argument == "--stay") {
        println!("open {address}/ in a browser, and {} to see what arrives", weixin.base);
        axum::serve(listener, app).await?;
        return Ok(());
    }
    visit(app, &weixin).await
}

/// Acts as a visitor who allows the message, and then as others who use the same callback again.
async fn visit(mut shop: Router, weixin: &Weixin) -> Result<(), Box<dyn Error>> {
    let asked = shop.call(Request::get("/").body(Body::empty())?).await?;
    let cookie = asked.headers().get(SET_COOKIE).ok_or("no session")?.clone();
    let link = asked.headers().get(LOCATION).ok_or("no consent link")?.to_str()?;
    println!("the visitor is sent to {}", link.split('?').next().unwrap_or_default());

    let page =
        link.strip_prefix(weixin.base.as_str()).ok_or("another host")?.trim_end_matches("#wechat_redirect");
    let allowed = weixin.sandbox.handle("POST", page, b"openid=oVisitor&action=confirm").outcome?;
    let callback = allowed.location.ok_or("the page did not lead back")?;
    let another = HeaderValue::from_static("session=another");
    for (who, cookie) in [("the visitor", &cookie), ("a second use", &cookie), ("another session", &another)]
    {
        let request = Request::get(&callback).header(COOKIE, cookie).body(Body::empty())?;
        let (head, body) = shop.call(request).await?.into_parts();
        let body = to_bytes(body, 4096).await?;
        println!("{who} sees {}: {}", head.status, String::from_utf8_lossy(&body));
    }
    Ok(())
}
