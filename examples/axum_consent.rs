//! A small web shop on axum that asks its visitors for consent to one message, stores it, and sends the message when the parcel
//! leaves. An extractor verifies the callback; the ledger records the consent once; no handler calls Weixin.
//!
//! `cargo run -p wxsub-examples --example axum_consent` acts as a visitor and prints the pages.
//! `cargo run -p wxsub-examples --example axum_consent -- --stay` waits: open the printed address in a browser.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wxsub_outbox::grant::Consent;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{MessageQuery, NotRecorded};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::Decision;
use wxsub_outbox::{App, MaybeSentPolicy, Outbox, OutboxError, OutboxMessage};
use wxsub_reqwest::{
    AppId, BaseUrl, Client, ConsentCallback, ConsentVerifier, Grant, HttpUrl, Message, OpenId,
    ReqwestTransport, Scene, SigningKey, TemplateId, VerifiedConsent,
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
    // The same order again is the same message, as long as its text and times are the same.
    let key = format!("parcel-{order}").parse().map_err(failed)?;
    let message = OutboxMessage::new(message.map_err(failed)?).idempotency_key(key);
    match shop.outbox.enqueue(message).await {
        Ok(queued) => Ok(queued.id().to_string()),
        // There is no consent, or it is used; or the key stands for another message.
        Err(OutboxError::NotRecorded(error @ (NotRecorded::Grant(_) | NotRecorded::KeyReused(_)))) => {
            Err((StatusCode::CONFLICT, error.to_string()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Support decides about a message that may have arrived. Only your staff may call this.
async fn decide(
    State(shop): State<Arc<Shop>>,
    Path((message, decision)): Path<(MessageId, Decision)>,
) -> Result<String, (StatusCode, String)> {
    match shop.outbox.decide(message, decision, "support", "asked the user", None).await {
        Ok((decided, None)) => Ok(format!("{} is decided: {decision}", decided.id)),
        Ok((_, Some(again))) => Ok(format!("sent again as {}", again.id)),
        // It is too early, it is decided already, or it is not `maybe_sent`.
        Err(error @ OutboxError::NotDecided(_)) => Err((StatusCode::CONFLICT, error.to_string())),
        Err(error) => Err(failed(error)),
    }
}

/// Gives each final message to `note`, at least once: first those that have ended, then each that ends. `after` is the
/// message up to which the shop knows all outcomes.
async fn watch(
    outbox: &Outbox,
    appid: &AppId,
    after: Option<MessageId>,
    note: impl Fn(&StoredMessage),
) -> Result<(), OutboxError> {
    loop {
        // Before the first read, so that no message ends unseen between the two.
        let mut outcomes = outbox.outcomes();
        let mut page = MessageQuery { after, limit: 1000, ..MessageQuery::new(appid.clone()) };
        loop {
            let messages = outbox.ledger().messages(&page).await?;
            messages.iter().filter(|message| message.state.is_final()).for_each(&note);
            let Some(last) = messages.last() else { break };
            page.after = Some(last.id);
        }
        // An error means that outcomes were missed: read them again.
        while let Ok(message) = outcomes.next().await {
            note(&message);
        }
    }
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))
}

/// Opens the ledger and puts the shop together. Call it once, at the start. The folder has the ledger and the signing key.
async fn open(
    weixin: &BaseUrl,
    folder: &FilePath,
    address: SocketAddr,
) -> Result<(Router, Outbox), Box<dyn Error>> {
    // `api_base` is for the sandbox. Leave it out for Weixin.
    let client = Client::builder(APPID, SECRET, ReqwestTransport::new()?).api_base(weixin.clone()).build()?;
    let app = App::new(APPID.parse()?, client)
        // A message without an open grant is not recorded.
        .require_grant(true)
        // The default: a message that may have arrived waits for support.
        .maybe_sent(MaybeSentPolicy::Hold);
    let ledger = SqliteLedger::open(folder.join("ledger.db"), SqliteOptions::new()).await?;
    let outbox = Outbox::builder(ledger).app(app).build();
    let shop = Shop {
        // All servers need the same key.
        verifier: ConsentVerifier::new(APPID.parse()?, SigningKey::from_file(folder.join("consent.key"))?),
        outbox: outbox.clone(),
        template: TEMPLATE.parse()?,
        scene: Scene::new(1000)?,
        weixin: weixin.clone(),
        back: format!("http://{address}/back").parse()?,
    };
    let routes = Router::new()
        .route("/", get(ask))
        .route("/back", get(back))
        .route("/orders/{order}/parcel/{openid}", post(parcel_leaves))
        .route("/support/{message}/{decision}", post(decide))
        .with_state(Arc::new(shop));
    Ok((routes, outbox))
}

/// Runs the worker beside the server until `shutdown` ends.
async fn serve(
    listener: TcpListener,
    routes: Router,
    outbox: Outbox,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let (appid, outcomes) = (APPID.parse()?, outbox.clone());
    let watching = tokio::spawn(async move {
        watch(&outcomes, &appid, None, |message| println!("{} is {}", message.id, message.state)).await
    });
    // The worker sends what is due, until the server has stopped.
    let (stop, stopped) = oneshot::channel::<()>();
    let working = tokio::spawn(async move { outbox.run(async { drop(stopped.await) }).await });
    axum::serve(listener, routes).with_graceful_shutdown(shutdown).await?;
    // The messages in flight finish, within 60 s.
    drop(stop);
    working.await??;
    watching.abort();
    Ok(())
}

// What follows is only for the example: the sandbox and visitors.

use axum::body::{Body, to_bytes};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, Request};
use tower_service::Service;
use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin, signing_key_file};
use wxsub_sandbox::Fault;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let weixin = Weixin::start().await?;
    // In production the folder stays where it is, on a local disk.
    let folder = tempfile::tempdir()?;
    signing_key_file(folder.path())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (routes, outbox) = open(&weixin.base, folder.path(), address).await?;
    if std::env::args().any(|argument| argument == "--stay") {
        println!("open http://{address}/ in a browser; then post to http://{address}/orders/1/parcel/OPENID");
        println!("{} shows what arrives; Ctrl-C ends", weixin.base);
        return serve(listener, routes, outbox, async { drop(tokio::signal::ctrl_c().await) }).await;
    }
    let (leave, left) = oneshot::channel::<()>();
    let serving = serve(listener, routes.clone(), outbox.clone(), async { drop(left.await) });
    let visiting = async {
        let visited = visit(routes, &weixin, &outbox).await;
        drop(leave);
        visited
    };
    let (served, visited) = tokio::join!(serving, visiting);
    served.and(visited)
}

/// Acts as two visitors who allow a message, as others who use a callback again, as the warehouse, and as support.
async fn visit(mut shop: Router, weixin: &Weixin, outbox: &Outbox) -> Result<(), Box<dyn Error>> {
    let (cookie, callback) = allow(&mut shop, weixin, "oVisitor").await?;
    let another = HeaderValue::from_static("session=another");
    for (who, cookie) in [("the visitor", &cookie), ("a second use", &cookie), ("another session", &another)]
    {
        let request = Request::get(&callback).header(COOKIE, cookie).body(Body::empty())?;
        let (status, body) = page_of(&mut shop, request).await?;
        println!("{who} sees {status}: {body}");
    }
    for order in [1, 1, 2] {
        let (status, body) = post_to(&mut shop, &format!("/orders/{order}/parcel/oVisitor")).await?;
        match body.parse() {
            Ok(id) => println!("order {order}: {}", outbox.wait(id).await?.state),
            Err(_) => println!("order {order}: {status}: {body}"),
        }
    }

    let (cookie, callback) = allow(&mut shop, weixin, "oUnlucky").await?;
    page_of(&mut shop, Request::get(&callback).header(COOKIE, cookie).body(Body::empty())?).await?;
    weixin.sandbox.add_fault("/cgi-bin/message/template/subscribe", 1, Fault::ResetAfterApply);
    let (_, id) = post_to(&mut shop, "/orders/3/parcel/oUnlucky").await?;
    println!("order 3, whose response is lost: {}", outbox.wait(id.parse()?).await?.state);
    let (status, body) = post_to(&mut shop, &format!("/support/{id}/assume_sent")).await?;
    println!("support, too early: {status}: {body}");
    Ok(())
}

/// Begins a session in which this user allows the message. Returns its cookie and the callback.
async fn allow(
    shop: &mut Router,
    weixin: &Weixin,
    openid: &str,
) -> Result<(HeaderValue, String), Box<dyn Error>> {
    let asked = shop.call(Request::get("/").body(Body::empty())?).await?;
    let cookie = asked.headers().get(SET_COOKIE).ok_or("no session")?.clone();
    let link = asked.headers().get(LOCATION).ok_or("no consent link")?.to_str()?;
    println!("{openid} is sent to {}", link.split('?').next().unwrap_or_default());
    let page =
        link.strip_prefix(weixin.base.as_str()).ok_or("another host")?.trim_end_matches("#wechat_redirect");
    let form = format!("openid={openid}&action=confirm");
    let allowed = weixin.sandbox.handle("POST", page, form.as_bytes()).outcome?;
    Ok((cookie, allowed.location.ok_or("the page did not lead back")?))
}

async fn post_to(shop: &mut Router, path: &str) -> Result<(StatusCode, String), Box<dyn Error>> {
    page_of(shop, Request::post(path).body(Body::empty())?).await
}

async fn page_of(shop: &mut Router, request: Request<Body>) -> Result<(StatusCode, String), Box<dyn Error>> {
    let (head, body) = shop.call(request).await?.into_parts();
    let body = to_bytes(body, 4096).await?;
    Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
}
