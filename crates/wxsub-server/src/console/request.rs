//! What the handlers of the console share: the visit, the session, and the form of an action.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Form;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use cookie::{Cookie, SameSite};
use wxsub_console::{Frame, Visitor, notice};
use wxsub_core::clock::ClockReading;
use wxsub_outbox::audit::AuditEntry;
use wxsub_outbox::state::AuditAction;
use wxsub_proto::codec::percent_encode;
use wxsub_proto::{Language, LocalizedText};

use super::context::Console;
use super::session::SessionSecret;
use crate::api::client_address::client_address;
use crate::apps::ConfigSnapshot;
use crate::config::{ConsoleAddress, ConsoleUser, Role};

const LANGUAGE_COOKIE: &str = "wxsub_language";

/// How long a browser stays known after its last login.
const BROWSER_COOKIE_DAYS: i64 = 180;

/// The pages of the navigation. After an error, its page leads back to the one that it belongs to.
const SECTIONS: [&str; 6] = ["outbox", "decisions", "grants", "webhooks", "workers", "audit"];

/// A request by anyone. An axum extractor.
pub(super) struct Visit {
    pub(super) console: Arc<Console>,
    /// The configuration that applies to the request.
    pub(super) snapshot: Arc<ConfigSnapshot>,
    pub(super) language: Language,
    pub(super) address: Option<IpAddr>,
    /// That of a session, or of the login page before it.
    pub(super) secret: Option<SessionSecret>,
    /// The cookie of a browser in which a user has logged in before.
    pub(super) browser: Option<String>,
    /// Path and query, without the path of the public URL.
    path: String,
    /// Whether another site made the browser send the request.
    is_foreign: bool,
}

/// A request of a session. An axum extractor.
pub(super) struct Session {
    pub(super) visit: Visit,
    pub(super) user: Arc<ConsoleUser>,
    form_token: String,
}

/// The form that anyone may post. An axum extractor.
pub(super) struct AnyForm {
    pub(super) visit: Visit,
    pub(super) fields: Fields,
}

/// The form of a session, made for it. An axum extractor.
pub(super) struct SessionForm {
    pub(super) session: Session,
    pub(super) fields: Fields,
}

/// The fields of a form.
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// The field; `""` if it is missing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Infallible> {
        Ok(Self::of(parts, console))
    }
}

/// The names of the cookies of a session and of a known browser. With the prefix, no other host of the domain can set them.
fn cookie_names(is_https: bool) -> [&'static str; 2] {
    match is_https {
        true => ["__Host-wxsub", "__Host-wxsub-browser"],
        false => ["wxsub_console", "wxsub_console_browser"],
    }
}

/// The cookie of this name.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| Cookie::split_parse(line.to_owned())).flatten();
    cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}

/// The language of the cookie; else the first of those in `Accept-Language` that the pages have.
fn language(cookie: Option<&str>, headers: &HeaderMap) -> Language {
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accepted = accepted.split(',').filter_map(|range| range.trim().split(['-', ';']).next());
    let known = |name: &str| match name.to_ascii_lowercase().as_str() {
        "zh" => Some(Language::Chinese),
        "en" => Some(Language::English),
        _ => None,
    };
    cookie.and_then(known).or_else(|| accepted.filter_map(known).next()).unwrap_or(Language::English)
}

/// Whether the browser says that the request does not come from a page of the console. What says neither is no browser, or an old
/// one, and the form token protects it.
fn is_foreign(headers: &HeaderMap, address: &ConsoleAddress) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter().peekable();
    if sites.peek().is_some() {
        return sites.any(|site| site != "same-origin");
    }
    let scheme = if address.is_https { "https" } else { "http" };
    // A proxy may send another host than that of the public URL.
    let reached = headers.get(HOST).and_then(|host| host.to_str().ok());
    let reached = reached.map(|host| format!("{scheme}://{host}")).unwrap_or_default();
    let is_own = |origin: &HeaderValue| {
        *origin == address.origin || origin.as_bytes().eq_ignore_ascii_case(reached.as_bytes())
    };
    headers.get_all(ORIGIN).iter().any(|origin| !is_own(origin))
}

impl Visit {
    pub(super) fn of(parts: &Parts, console: &Arc<Console>) -> Self {
        let snapshot = console.state.snapshot();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let address = peer.and_then(|peer| client_address(peer, &snapshot.trusted_proxies, &parts.headers));
        let cookie = |name: &str| cookie(&parts.headers, name);
        let [session, browser] = cookie_names(console.address.is_https);
        Self {
            language: language(cookie(LANGUAGE_COOKIE).as_deref(), &parts.headers),
            address,
            secret: cookie(session).and_then(|text| SessionSecret::parse(&text)),
            browser: cookie(browser),
            path: parts.uri.path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default(),
            is_foreign: is_foreign(&parts.headers, &console.address),
            console: Arc::clone(console),
            snapshot,
        }
    }

    /// The address for logs; empty if it is not known.
    pub(super) fn address_text(&self) -> String {
        self.address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// A line for the audit, about nothing in particular.
    pub(super) fn audit_entry(&self, actor: &str, action: AuditAction) -> AuditEntry {
        let (actor, address, (appid, subject, detail)) =
            (actor.to_owned(), self.address_text(), Default::default());
        AuditEntry { actor, address, action, appid, subject, detail }
    }

    pub(super) fn now(&self) -> ClockReading {
        self.console.state.clock().now()
    }

    /// The frame of a page that needs no login.
    pub(super) fn frame(&self) -> Frame<'_> {
        Frame {
            language: self.language,
            base: &self.console.address.base_path,
            now: self.now().wall,
            visitor: None,
        }
    }

    /// A page with this message, for a visitor who need not have logged in.
    pub(super) fn notice(&self, status: StatusCode, text: impl Into<LocalizedText<String>>) -> Response {
        self.notice_in(&self.frame(), status, text)
    }

    fn notice_in(
        &self,
        frame: &Frame<'_>,
        status: StatusCode,
        text: impl Into<LocalizedText<String>>,
    ) -> Response {
        let title = match status {
            StatusCode::NOT_FOUND => LocalizedText::new("Not found", "页面不存在"),
            StatusCode::SERVICE_UNAVAILABLE => LocalizedText::new("Not possible now", "暂时无法处理"),
            _ => LocalizedText::new("Nothing was done", "操作未执行"),
        };
        let section = self.path.split(['/', '?']).nth(1).filter(|section| SECTIONS.contains(section));
        let back = format!("/{}", section.unwrap_or_default());
        (status, Html(notice(frame, &title, &text.into(), &back))).into_response()
    }

    /// Sends the browser to a page of the console. `path` begins with a slash.
    pub(super) fn redirect(&self, path: &str) -> Response {
        let target = format!("{}{path}", self.console.address.base_path);
        match HeaderValue::try_from(target) {
            Ok(target) => (StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response(),
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        }
    }

    /// Sets the session cookie; removes it if there is no secret.
    pub(super) fn set_session_cookie(&self, response: &mut Response, secret: Option<&SessionSecret>) {
        let value = secret.map(SessionSecret::expose_secret).unwrap_or_default();
        let [session, _] = cookie_names(self.console.address.is_https);
        let mut cookie = self.cookie(session, value);
        if secret.is_none() {
            cookie.make_removal();
        }
        append_cookie(response, &cookie);
    }

    pub(super) fn set_browser_cookie(&self, response: &mut Response, value: &str) {
        let [_, browser] = cookie_names(self.console.address.is_https);
        let mut cookie = self.cookie(browser, value);
        cookie.set_max_age(cookie::time::Duration::days(BROWSER_COOKIE_DAYS));
        append_cookie(response, &cookie);
    }

    pub(super) fn set_language_cookie(&self, response: &mut Response, value: &str) {
        append_cookie(response, &self.cookie(LANGUAGE_COOKIE, value));
    }

    fn cookie<'a>(&self, name: &'a str, value: &'a str) -> Cookie<'a> {
        let cookie = Cookie::build((name, value)).path("/").http_only(true).same_site(SameSite::Lax);
        cookie.secure(self.console.address.is_https).build()
    }
}

fn append_cookie(response: &mut Response, cookie: &Cookie<'_>) {
    if let Ok(value) = HeaderValue::try_from(cookie.to_string()) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

impl Session {
    fn of(visit: Visit) -> Result<Self, Box<Visit>> {
        let found = visit.secret.as_ref().and_then(|secret| {
            let user = visit.console.sessions.find(secret, &visit.snapshot.console_users, visit.now())?;
            Some((user, secret.form_token()))
        });
        match found {
            Some((user, form_token)) => Ok(Self { visit, user, form_token }),
            None => Err(Box::new(visit)),
        }
    }

    /// A page with this message.
    pub(super) fn notice(&self, status: StatusCode, text: impl Into<LocalizedText<String>>) -> Response {
        self.visit.notice_in(&self.frame(), status, text)
    }

    pub(super) fn is_operator(&self) -> bool {
        self.user.role == Role::Operator
    }

    /// The frame of a page.
    pub(super) fn frame(&self) -> Frame<'_> {
        let visitor = Visitor {
            name: &self.user.name,
            is_operator: self.is_operator(),
            form_token: &self.form_token,
            has_ledger: self.visit.snapshot.outbox.is_some(),
        };
        Frame { visitor: Some(visitor), ..self.visit.frame() }
    }
}

impl FromRequestParts<Arc<Console>> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let Ok(visit) = Visit::from_request_parts(parts, console).await;
        Self::of(visit).map_err(|visit| {
            let next = match visit.path.as_str() {
                "/" => String::new(),
                path => format!("?next={}", encode(path)),
            };
            visit.redirect(&format!("/login{next}"))
        })
    }
}

/// A text as the value of a query parameter.
pub(super) fn encode(path: &str) -> String {
    percent_encode(path).to_string().replace("%2F", "/")
}

impl FromRequest<Arc<Console>> for AnyForm {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Ok(visit) = Visit::from_request_parts(&mut parts, console).await;
        if visit.is_foreign {
            let text = LocalizedText::new(
                "Another site made your browser send this form; use the forms of the console",
                "这个表单是其他网站让浏览器提交的；请使用控制台自己的表单",
            );
            return Err(visit.notice(StatusCode::FORBIDDEN, text));
        }
        // What is wrong with it becomes a page.
        let form = Form::from_request(Request::from_parts(parts, body), console).await;
        form.map(|Form(fields)| Self { visit, fields: Fields(fields) }).map_err(IntoResponse::into_response)
    }
}

impl FromRequest<Arc<Console>> for SessionForm {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let AnyForm { visit, fields } = AnyForm::from_request(request, console).await?;
        let session = Session::of(visit).map_err(|visit| visit.redirect("/login?ended"))?;
        let secret = session.visit.secret.as_ref();
        if !secret.is_some_and(|secret| secret.is_form_token(fields.get("token"))) {
            return Err(session.notice(StatusCode::FORBIDDEN, OUTDATED_FORM));
        }
        Ok(Self { session, fields })
    }
}

/// The form was made for another session, or by another site.
pub(super) const OUTDATED_FORM: LocalizedText = LocalizedText::new(
    "The form is not of this session; open the page again",
    "表单不属于当前会话；请重新打开页面",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_is_that_of_the_cookie_or_the_first_accepted() {
        for (cookie, accepted, expected) in [
            (None, "", Language::English),
            (None, "zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            (None, "de, en-GB, zh", Language::English),
            (None, "de", Language::English),
            (Some("zh"), "en", Language::Chinese),
            (Some("en"), "zh", Language::English),
            (Some("x"), "ZH", Language::Chinese),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(accepted))]);
            assert_eq!(language(cookie, &headers), expected, "{cookie:?} {accepted}");
        }
    }
}
