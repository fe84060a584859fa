//! Log in, log out, and choose the language.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Query;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tracing::{info, warn};
use wxsub_console::LoginView;
use wxsub_core::clock::timeout_at;
use wxsub_outbox::state::AuditAction;
use wxsub_proto::{LocalizedText, localized_text};

use super::known_browser::KnownBrowser;
use super::login_limiter::LoginSources;
use super::passwords::Overloaded;
use super::request::{AnyForm, OUTDATED_FORM, SessionForm, Visit};
use super::session::SessionSecret;
use crate::config::{ConsoleUser, MAX_PASSWORD_BYTES};
use crate::state::pace::retry_after_s;

/// Limit for the line in the audit of the ledger.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the login page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct LoginQuery {
    /// The page to show after the login.
    #[serde(default)]
    next: String,
    /// A form was posted after the end of the session.
    ended: Option<String>,
}

/// `GET /login`.
pub(super) async fn show(visit: Visit, Query(query): Query<LoginQuery>) -> Response {
    let ended = LocalizedText::new(
        "Your session has ended, and nothing was done. Log in again.",
        "会话已结束，操作未执行。请重新登录。",
    );
    let message = query.ended.map(|_| ended.in_language(visit.language));
    page(&visit, &query.next, message, false)
}

/// The login page. Its form token belongs to a cookie that is no session yet.
fn page(visit: &Visit, next: &str, message: Option<&str>, is_failed: bool) -> Response {
    let generated = match &visit.secret {
        Some(_) => None,
        None => SessionSecret::generate().ok(),
    };
    let Some(secret) = visit.secret.as_ref().or(generated.as_ref()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let next = if is_page(next) { next } else { "" };
    let view = LoginView { form_token: &secret.form_token(), next, message, is_failed };
    let mut response = Html(wxsub_console::login(&visit.frame(), &view)).into_response();
    if generated.is_some() {
        visit.set_session_cookie(&mut response, generated.as_ref());
    }
    response
}

/// The login page with the reason of a failure.
fn failure(visit: &Visit, next: &str, status: StatusCode, text: &LocalizedText<String>) -> Response {
    let mut response = page(visit, next, Some(&text.in_language(visit.language)), true);
    *response.status_mut() = status;
    response
}

/// The login page after too many logins.
fn wait(visit: &Visit, next: &str, wait: Duration) -> Response {
    let seconds = retry_after_s(wait);
    let text = localized_text!(
        "Too many logins failed, or are made at once. Try again in {seconds} s.",
        "登录失败次数过多，或同时登录的人过多。请 {seconds} 秒后再试。"
    );
    let mut response = failure(visit, next, StatusCode::TOO_MANY_REQUESTS, &text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// `POST /login`.
pub(super) async fn log_in(AnyForm { visit, fields }: AnyForm) -> Response {
    let (next, now) = (fields.get("next"), visit.now());
    let is_own = visit.secret.as_ref().is_some_and(|secret| secret.is_form_token(fields.get("token")));
    if !is_own {
        return failure(&visit, next, StatusCode::FORBIDDEN, &OUTDATED_FORM.into());
    }
    let (name, password) = (fields.get("name"), fields.get("password"));
    let known = visit.snapshot.console_users.iter().find(|user| user.name == name);
    let browser = known.and_then(|user| KnownBrowser::parse(visit.browser.as_deref()?, user));
    let sources = LoginSources::new(visit.address, name, browser.as_ref());
    let (logins, address) = (&visit.console.logins, visit.address_text());
    let counted = match logins.begin(&sources, now.mono) {
        Ok(counted) => counted,
        Err(too_early) => return wait(&visit, next, too_early),
    };
    let Ok(user) = verify(&visit, known, password, browser.is_some()).await else {
        logins.release(&counted);
        return wait(&visit, next, Duration::ZERO);
    };
    let Some(user) = user else {
        // People also type passwords as names, so an unknown name is not logged.
        let user = known.map_or("unknown", |user| &user.name);
        warn!(user, address, "a login to the console failed");
        let text = LocalizedText::new("Name or password is wrong.", "用户名或密码错误。");
        return failure(&visit, next, StatusCode::FORBIDDEN, &text.into());
    };
    logins.release(&counted);
    if let Some(before) = &visit.secret {
        visit.console.sessions.end(before);
    }
    let (Ok(secret), Ok(browser)) =
        (visit.console.sessions.begin(user, now), browser.map_or_else(KnownBrowser::generate, Ok))
    else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    record(&visit, &user.name, AuditAction::Login).await;
    info!(user = user.name, address, "an operator logged in to the console");
    let mut response = visit.redirect(if is_page(next) { next } else { "/" });
    visit.set_session_cookie(&mut response, Some(&secret));
    visit.set_browser_cookie(&mut response, &browser.cookie(user));
    response
}

/// Appends to the audit, if there is a ledger. A ledger that fails or does not respond must not lock operators out.
async fn record(visit: &Visit, actor: &str, action: AuditAction) {
    let Some(outbox) = &visit.snapshot.outbox else { return };
    let entry = visit.audit_entry(actor, action);
    let deadline = visit.now().mono + AUDIT_TIMEOUT;
    let recorded =
        timeout_at(&**visit.console.state.clock(), deadline, outbox.outbox().record_audit(entry)).await;
    let action = action.as_str();
    match recorded {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            warn!(%error, user = actor, action, "the audit of the ledger has no line for this");
        }
        None => {
            warn!(user = actor, action, "the ledger did not respond; its audit may have no line for this");
        }
    }
}

/// The user, if this is the password. An unknown name takes as long as a wrong password.
///
/// # Errors
/// [`Overloaded`] if too many logins wait already.
async fn verify<'a>(
    visit: &Visit,
    known: Option<&'a Arc<ConsoleUser>>,
    password: &str,
    is_known_browser: bool,
) -> Result<Option<&'a Arc<ConsoleUser>>, Overloaded> {
    let hash = known.or(visit.snapshot.console_users.first()).map(|user| &user.password);
    match hash.filter(|_| password.len() <= MAX_PASSWORD_BYTES) {
        Some(hash) => {
            let matches = visit.console.passwords.verify(hash, password, is_known_browser).await?;
            Ok(known.filter(|_| matches))
        }
        None => Ok(None),
    }
}

/// Whether this is the path of a page of the console, and not the address of another site, or of another application beside
/// the console's path.
fn is_page(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.to_ascii_lowercase().replace("%2e", ".").contains("..")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// `POST /logout`.
pub(super) async fn log_out(SessionForm { session, .. }: SessionForm) -> Response {
    let visit = session.visit;
    if let Some(secret) = &visit.secret {
        visit.console.sessions.end(secret);
    }
    record(&visit, &session.user.name, AuditAction::Logout).await;
    let mut response = visit.redirect("/login");
    visit.set_session_cookie(&mut response, None);
    response
}

/// `POST /language`: a cookie that says nothing of the visitor, so it needs no session.
pub(super) async fn set_language(AnyForm { visit, fields }: AnyForm) -> Response {
    let mut response = visit.redirect("/");
    if let language @ ("en" | "zh") = fields.get("language") {
        visit.set_language_cookie(&mut response, language);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_leads_to_pages_of_the_console_only() {
        for path in ["/", "/outbox?state=queued", "/outbox/0190-1"] {
            assert!(is_page(path), "{path}");
        }
        for path in [
            "",
            "outbox",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/a\r\nb",
            "/../other",
            "/outbox/%2E./%2e%2e/other",
        ] {
            assert!(!is_page(path), "{path:?}");
        }
    }
}
