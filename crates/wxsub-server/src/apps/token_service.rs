//! A token service of the company as the upstream of an app: `token_url`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, Uri, header};
use serde_json::{Map, Value};
use wxsub_api::ReportRequest;
use wxsub_core::clock::{Clock, timeout_at};
use wxsub_core::proto::codec::{RawResponse, decode_query};
use wxsub_core::proto::endpoint::token::TokenResponse;
use wxsub_core::token::{FetchedToken, TokenErrorKind, TokenUpstream, UpstreamBehavior, UpstreamRequest};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_proto::{AccessToken, AppId, LocalizedText, Remedy, localized_text};
use zeroize::Zeroizing;

use crate::config::TokenServiceConfig;

/// How often a valid token is fetched again. The service may replace it at any time, and Weixin accepts the replaced one for
/// five minutes.
const POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Minimum length of a text that is redacted.
const MIN_SECRET_BYTES: usize = 8;

/// How long a report may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// A token service, which keeps the token of an app for all its clients.
#[derive(derive_more::Debug)]
#[debug("TokenService({appid}, {:?})", settings.load().config)]
pub(super) struct TokenService {
    appid: AppId,
    settings: ArcSwap<Settings>,
    clock: Arc<dyn Clock>,
}

/// What a reload can change.
struct Settings {
    config: Arc<TokenServiceConfig>,
    transport: Arc<dyn Transport>,
}

impl Settings {
    /// With another transport than that of the configuration, if there is one.
    fn new(config: &Arc<TokenServiceConfig>, transport: Option<&Arc<dyn Transport>>) -> Self {
        let transport = transport.unwrap_or(&config.transport);
        Self { config: Arc::clone(config), transport: Arc::clone(transport) }
    }
}

#[async_trait]
impl TokenUpstream for TokenService {
    fn appid(&self) -> &AppId {
        &self.appid
    }

    fn behavior(&self) -> UpstreamBehavior {
        UpstreamBehavior::token_service().polled(POLL_INTERVAL)
    }

    /// Reports the token that Weixin rejected, and asks for a token. A failed report matters only if the service returns the same
    /// token again.
    async fn fetch(&self, request: UpstreamRequest<'_>) -> Result<FetchedToken, TokenErrorKind> {
        let settings = self.settings.load_full();
        let config = &settings.config;
        let failed_report = match (&config.report_url, request.rejected) {
            (Some(url), Some(rejected)) => self.report_in_time(&settings, url, rejected).await.err(),
            _ => None,
        };
        let response = settings.call(&config.url, "token_url", None).await?;
        let fetched = config.parse(&response)?;
        let is_same = request.rejected.is_some_and(|rejected| rejected.ct_eq(&fetched.token));
        match failed_report.filter(|_| is_same) {
            Some(failure) => Err(failure),
            None => Ok(fetched),
        }
    }
}

impl TokenService {
    pub(super) fn new(
        appid: AppId,
        config: &Arc<TokenServiceConfig>,
        transport: Option<&Arc<dyn Transport>>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let settings = ArcSwap::from_pointee(Settings::new(config, transport));
        Self { appid, settings, clock: Arc::clone(clock) }
    }

    /// The next fetch uses this configuration.
    pub(super) fn set_config(
        &self,
        config: &Arc<TokenServiceConfig>,
        transport: Option<&Arc<dyn Transport>>,
    ) {
        self.settings.store(Arc::new(Settings::new(config, transport)));
    }

    /// Leaves time for the request of a token.
    async fn report_in_time(
        &self,
        settings: &Settings,
        url: &Uri,
        rejected: &AccessToken,
    ) -> Result<(), TokenErrorKind> {
        let deadline = self.clock.now().mono + REPORT_TIMEOUT;
        let reported = timeout_at(&*self.clock, deadline, settings.report(url, rejected)).await;
        let seconds = REPORT_TIMEOUT.as_secs();
        let text = localized_text!(
            "the token service did not respond to report_url within {seconds} s; retry later",
            "token 服务 {seconds} 秒内没有响应 report_url；请稍后重试"
        );
        reported.unwrap_or_else(|| Err(failure(text, Remedy::RetryLater)))
    }
}

impl Settings {
    async fn report(&self, url: &Uri, rejected: &AccessToken) -> Result<(), TokenErrorKind> {
        let report = serde_json::to_vec(&ReportRequest { access_token: Cow::Borrowed(rejected) });
        let report = report.map_err(|_| {
            let text = LocalizedText::new("the report is no valid JSON", "上报内容不是有效的 JSON");
            failure(text, Remedy::Investigate)
        })?;
        self.call(url, "report_url", Some(report)).await.map(drop)
    }

    /// Makes one request: a `POST` of this JSON, or a `GET` without it. `key` names the URL in errors.
    ///
    /// # Errors
    /// Every status other than 2xx.
    async fn call(
        &self,
        url: &Uri,
        key: &str,
        json: Option<Vec<u8>>,
    ) -> Result<RawResponse<Bytes>, TokenErrorKind> {
        let mut request = Request::new(Bytes::new());
        request.uri_mut().clone_from(url);
        if let Some((name, value)) = &self.config.header {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(json) = json {
            *request.method_mut() = Method::POST;
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Bytes::from(json);
        }
        let response = self.transport.execute(HttpRequest::from_http(request)).await;
        let response = response.map_err(TokenErrorKind::Transport)?;
        let status = response.status;
        let (advice, remedy) = match status {
            200..=299 => return Ok(response),
            300..=399 => (
                LocalizedText::new(
                    "a redirect, which is not followed; correct the URL",
                    "这是重定向，不会跟随；请更正 URL",
                ),
                Remedy::FixConfig,
            ),
            401 | 403 => (
                LocalizedText::new("check token_url_header_file", "请检查 token_url_header_file"),
                Remedy::FixConfig,
            ),
            400..=499 if status != 408 && status != 429 => {
                (LocalizedText::new("correct the URL", "请更正 URL"), Remedy::FixConfig)
            }
            _ => (LocalizedText::new("retry later", "请稍后重试"), Remedy::RetryLater),
        };
        let text = localized_text!(
            "the token service responded to {key} with status {status}: {advice}",
            "token 服务对 {key} 返回了状态码 {status}：{advice}";
            advice
        );
        Err(failure(text, remedy))
    }
}

impl TokenServiceConfig {
    /// Finds token and lifetime, and reads them as strictly as a response of Weixin.
    fn parse(&self, response: &RawResponse<Bytes>) -> Result<FetchedToken, TokenErrorKind> {
        let Self { token_pointer, expires_in_pointer, .. } = self;
        let body: Value = serde_json::from_slice(&response.body).map_err(|_| {
            let text = LocalizedText::new(
                "the response of the token service is not JSON; retry later",
                "token 服务的响应不是 JSON；请稍后重试",
            );
            failure(text, Remedy::RetryLater)
        })?;
        let mut weixin = Map::new();
        let found =
            [("access_token", body.pointer(token_pointer)), ("expires_in", body.pointer(expires_in_pointer))];
        weixin.extend(found.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.clone()))));
        if !weixin.contains_key("access_token") {
            // Weixin's own error, if the service passes it on.
            let error = ["errcode", "errmsg"].map(|key| (key, body.get(key)));
            weixin
                .extend(error.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.clone()))));
        }
        let read = TokenResponse::parse(200, Value::Object(weixin).to_string().as_bytes());
        match read {
            Ok(Ok(token)) => Ok(FetchedToken::new(token.access_token, token.expires_in)),
            Ok(Err(refusal)) => {
                let redacted = self.secrets().fold(refusal, |refusal, secret| refusal.redact(&secret));
                Err(TokenErrorKind::Refused(redacted))
            }
            Err(error) => {
                let error = error.localized();
                let text = localized_text!(
                    "invalid response of the token service: {error}; correct token_pointer {token_pointer} or \
                     expires_in_pointer {expires_in_pointer}",
                    "token 服务的响应无效：{error}；请更正 token_pointer {token_pointer} 或 \
                     expires_in_pointer {expires_in_pointer}";
                    error
                );
                Err(failure(text, Remedy::FixConfig))
            }
        }
    }

    /// What may be secret in the header and in the query of the URL, as it is and decoded. A shorter text may stand in an error for
    /// another reason.
    fn secrets(&self) -> impl Iterator<Item = Zeroizing<String>> {
        let header = self.header.as_ref().and_then(|(_, value)| value.to_str().ok());
        let query = self.url.query();
        let decoded = query.and_then(|query| decode_query(query).ok()).into_iter().flatten();
        let texts = header.into_iter().chain(query).map(str::to_owned);
        texts.chain(decoded.map(|(_, value)| value)).map(Zeroizing::new).flat_map(|text| {
            let parts = text.split(|c: char| c.is_whitespace() || "=&;,".contains(c));
            let parts = parts.filter(|part| part.len() >= MIN_SECRET_BYTES);
            parts.map(|part| Zeroizing::new(part.to_owned())).collect::<Vec<_>>()
        })
    }
}

fn failure(text: impl Into<LocalizedText<String>>, remedy: Remedy) -> TokenErrorKind {
    TokenErrorKind::Upstream { text: text.into(), remedy }
}
