//! A small web shop on axum that asks its visitors for consent to one message, stores it, and sends the message when the parcel
//! leaves. An extractor verifies the callback; the ledger records the consent once; no handler calls Weixin.
//!
//! `cargo run -p wxsub-examples --example axum_consent` acts as a visitor and prints the pages.
//! `cargo run -p wxsub-examples --example axum_consent -- --stay` waits: open the printed address in a browser.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower_service::Service;
use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin};
use wxsub_outbox::grant::Consent;
use wxsub_outbox::ledger::NotRecorded;
use wxsub_outbox::{App, Outbox, OutboxError, OutboxMessage};
use wxsub_reqwest::{
    BaseUrl, Client, ConsentCallback, ConsentVerifier, Grant, HttpUrl, Message, OpenId, ReqwestTransport,
    Scene, SigningKey, TemplateId, VerifiedConsent,
};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};

/// The state of the shop's handlers.
struct Shop {
    verifier: ConsentVerifier,
    /// Holds the consents and the messages.
    outbox: Outbox,
    template: TemplateId,
    /// One for each occasion of a message, here "the parcel leaves". Not one for each order.
    scene: Scene,
    /// The base URL of the consent page: here the sandbox, in production Weixin.
    weixin: BaseUrl,
    /// The callback URL.
    back: HttpUrl,
}

/// A verified callback: it belongs to this visitor's session and is in time.
struct VerifiedCallback(VerifiedConsent);

impl FromRequestParts<Arc<Shop>> for VerifiedCallback {
    type Rejection = (StatusCode, String);

    async fn from_request_parts(parts: &mut Parts, shop: &Arc<Shop>) -> Result<Self, Self::Rejection> {
        let refused = |why: String| (StatusCode::BAD_REQUEST, why);
        let session = session(&parts.headers).ok_or_else(|| refused("no session: begin at /".to_owned()))?;
        let query = parts.uri.query().unwrap_or_default();
        let callback: ConsentCallback = query.parse().map_err(|invalid| refused(format!("{invalid}")))?;
        shop.verifier.verify(&callback, session).map(Self).map_err(|error| refused(error.to_string()))
    }
}

fn failed(error: impl Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Makes a session and sends the visitor to Weixin.
async fn ask(State(shop): State<Arc<Shop>>) -> Result<impl IntoResponse, (StatusCode, String)> {
    let session = format!("{:016x}", getrandom::u64().map_err(failed)?);
    let request = shop.verifier.issue(shop.template.clone(), shop.scene, &session).map_err(failed)?;
    let link = request.consent_url(&shop.back).map_err(failed)?.with_base_url(&shop.weixin).to_string();
    // `Lax` sends the cookie when Weixin redirects the visitor back. Add `Secure` where there is TLS.
    let cookie = format!("session={session}; HttpOnly; SameSite=Lax; Path=/");
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to(&link)))
}

/// Handles the callback: records the consent, and sends nothing.
async fn back(
    State(shop): State<Arc<Shop>>,
    VerifiedCallback(verified): VerifiedCallback,
) -> Result<Html<&'static str>, (StatusCode, String)> {
    // The nonce of the callback is used up and the grant made in one transaction.
    Ok(match shop.outbox.record_consent(&verified).await.map_err(failed)? {
        Some(Consent::Recorded(_)) => Html("<p>Thank you. We write when your parcel leaves."),
        Some(Consent::AlreadyRecorded(_) | Consent::Absorbed(_)) => Html("<p>You have allowed this message."),
        None => Html("<p>No message, then."),
    })
}

/// The parcel of this visitor leaves: records the message. The worker sends it.
async fn parcel_leaves(
    State(shop): State<Arc<Shop>>,
    Path((order, openid)): Path<(u32, OpenId)>,
) -> Result<String, (StatusCode, String)> {
    let grant = Grant::assume_verified(openid, shop.template.clone(), shop.scene).map_err(failed)?;
    let message = Message::builder(grant).title("Parcel").content("It is on its way.").build();
    // The same order again is the same message.
    let key = format!("parcel-{order}").parse().map_err(failed)?;
    let message = OutboxMessage::new(message.map_err(failed)?).idempotency_key(key);
    match shop.outbox.enqueue(message).await {
        Ok(queued) => Ok(queued.id().to_string()),
        // There is no consent, or it is used.
        Err(OutboxError::NotRecorded(error @ NotRecorded::Grant(_))) => {
            Err((StatusCode::CONFLICT, error.to_string()))
        }
        Err(error) => Err(failed(error)),
    }
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
    let client =
        Client::builder(APPID, SECRET, ReqwestTransport::new()?).api_base(weixin.base.clone()).build()?;
    // In production the ledger stays where it is, on a local disk.
    let folder = tempfile::tempdir()?;
    let ledger = SqliteLedger::open(folder.path().join("ledger.db"), SqliteOptions::new()).await?;
    let app = App::new(APPID.parse()?, client).require_grant(true);
    let outbox = Outbox::builder(ledger).app(app).build();
    let shop = Shop {
        // All servers need the same key. In production it comes from your secrets; `wxsub consent key` makes one.
        verifier: ConsentVerifier::new(APPID.parse()?, SigningKey::new(b"sixteen random bytes or more")?),
        outbox: outbox.clone(),
        template: TEMPLATE.parse()?,
        scene: Scene::new(1000)?,
        weixin: weixin.base.clone(),
        back: format!("{address}/back").parse()?,
    };
    let routes = Router::new()
        .route("/", get(ask))
        .route("/back", get(back))
        .route("/orders/{order}/parcel/{openid}", post(parcel_leaves))
        .with_state(Arc::new(shop));

    // The worker sends what is due, until the shop stops.
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = outbox.clone();
    let working = tokio::spawn(async move { worker.run(async { drop(stopped.await) }).await });
    if std::env::args().any(|argument| argument == "--stay") {
        println!("open {address}/ in a browser; then post to {address}/orders/1/parcel/OPENID");
        println!("{} shows what arrives", weixin.base);
        axum::serve(listener, routes).await?;
    } else {
        visit(routes, &weixin, &outbox).await?;
    }
    drop(stop);
    Ok(working.await??)
}

/// Acts as a visitor who allows the message, as others who use the same callback again, and then as the warehouse.
async fn visit(mut shop: Router, weixin: &Weixin, outbox: &Outbox) -> Result<(), Box<dyn Error>> {
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
        let (status, body) = page_of(&mut shop, request).await?;
        println!("{who} sees {status}: {body}");
    }
    for order in [1, 1, 2] {
        let request = Request::post(format!("/orders/{order}/parcel/oVisitor")).body(Body::empty())?;
        let (status, body) = page_of(&mut shop, request).await?;
        match body.parse() {
            Ok(id) => println!("order {order}: {}", outbox.wait(id).await?.state),
            Err(_) => println!("order {order}: {status}: {body}"),
        }
    }
    Ok(())
}

async fn page_of(shop: &mut Router, request: Request<Body>) -> Result<(StatusCode, String), Box<dyn Error>> {
    let (head, body) = shop.call(request).await?.into_parts();
    let body = to_bytes(body, 4096).await?;
    Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
}
