//! The client itself: tokens, messages, and how each call is made.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wxsub_api::{
    ApiKey, AppList, Problem, Redelivery, ReportRequest, SendResult, SendStatus, TokenResponse, WebhookList,
    path,
};
use wxsub_core::clock::{Clock, ClockReading, SystemClock, timeout_at};
use wxsub_core::token::{
    CachedToken, FetchedToken, Generation, TokenCache, TokenCacheBuilder, TokenErrorKind, TokenUpstream,
    UpstreamBehavior, UpstreamRequest,
};
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_proto::codec::RawResponse;
use wxsub_proto::{AccessToken, AppId, BaseUrl, LocalizedText, Message};

use crate::{ControlServerError, ControlServerSendError};

/// The header of an idempotency key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The default of [`ControlServer::timeout`]. The server waits for Weixin for 30 s by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum length of a response, in bytes. The list of 10 000 apps has some megabytes.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// A control server (`wxsub serve`), and the key of this client.
///
/// A clone is cheap. Each call makes one request and is never repeated.
#[derive(Clone)]
pub struct ControlServer {
    base: BaseUrl,
    key: ApiKey,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

impl ControlServer {
    /// Creates a client of the server at this base URL.
    ///
    /// The server responds after Weixin does, so the transport should wait for a response longer than 30 s. It should
    /// close idle connections after less than 10 s, because the server does.
    pub fn new(base: BaseUrl, key: ApiKey, transport: impl Transport + 'static) -> Self {
        Self {
            base,
            key,
            transport: Arc::new(transport),
            clock: Arc::new(SystemClock::new()),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Sets the maximum time of one call. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Reads the current token of an app.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return a token.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub async fn token(&self, appid: &AppId) -> Result<CachedToken, ControlServerError> {
        let requested_at = self.clock.now();
        Ok(cached_token(self.fetch_token(appid, None).await?, requested_at))
    }

    /// Reports that Weixin rejected this token, and returns another one.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return another token. If
    /// [`may_have_taken_effect`](ControlServerError::may_have_taken_effect) is true, the server may still have replaced
    /// the token.
    ///
    /// # Cancel safety
    /// If the future is dropped, the server may still replace the token. A second report of the same token is harmless.
    pub async fn report_token(
        &self,
        appid: &AppId,
        rejected: &AccessToken,
    ) -> Result<CachedToken, ControlServerError> {
        let requested_at = self.clock.now();
        Ok(cached_token(self.fetch_token(appid, Some(rejected)).await?, requested_at))
    }

    /// Sends one message. `Ok` means that Weixin accepted it.
    ///
    /// # Errors
    /// [`ControlServerSendError`] says whether the message was sent, and what to do. The same message may be sent again
    /// only if it was certainly not sent.
    ///
    /// # Cancel safety
    /// Not cancel safe: after the future is dropped, it is unknown whether the message was sent.
    pub async fn send(&self, appid: &AppId, message: &Message) -> Result<(), ControlServerSendError> {
        self.send_once(appid, message, None).await
    }

    /// Sends one message under an idempotency key: the same call again sends it at most once, and returns its outcome. The
    /// server needs a ledger.
    ///
    /// # Errors
    /// As [`send`](Self::send). While the message of the key is under way, the outcome is `maybe_sent`: call it again later
    /// with the same key.
    ///
    /// # Cancel safety
    /// It is unknown whether the message was sent. Call it again with the same key.
    pub async fn send_with_key(
        &self,
        appid: &AppId,
        message: &Message,
        key: &IdempotencyKey,
    ) -> Result<(), ControlServerSendError> {
        self.send_once(appid, message, Some(key)).await
    }

    async fn send_once(
        &self,
        appid: &AppId,
        message: &Message,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), ControlServerSendError> {
        let (path, headers) = (path::messages(appid), key_header(key));
        let response = match self.call(http::Method::POST, &path, message.to_json(), &headers).await {
            Ok(response) => response,
            Err(error) => {
                let result = match error.may_have_taken_effect() {
                    true => SendResult::given_up(message),
                    false => SendResult::not_sent(message),
                };
                return Err(ControlServerSendError::new(result, error));
            }
        };
        match Problem::parse_send_result(message, response.status, &response.body) {
            Some(result) if result.outcome == SendStatus::Sent => Ok(()),
            Some(result) => Err(ControlServerSendError::new(result, ControlServerError::problem(&response))),
            None => {
                let error = ControlServerError::InvalidResponse { status: response.status };
                Err(ControlServerSendError::new(SendResult::given_up(message), error))
            }
        }
    }

    /// Lists the apps that the key may use, and their health. The key needs the scope `admin`.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return the list.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub async fn apps(&self) -> Result<AppList, ControlServerError> {
        self.get(path::APPS).await
    }

    /// Lists the endpoints of webhooks, and what was not delivered. The key needs the scope `admin`, the server a ledger.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not return the list.
    ///
    /// # Cancel safety
    /// Cancel safe: a read changes nothing.
    pub async fn webhooks(&self) -> Result<WebhookList, ControlServerError> {
        self.get(path::WEBHOOKS).await
    }

    /// Enables an endpoint, and makes its failed webhooks due now. The key needs the scope `admin`. Returns how many are due.
    ///
    /// # Errors
    /// [`ControlServerError`] if the server did not confirm it.
    ///
    /// # Cancel safety
    /// The webhooks may be due. A second call is harmless.
    pub async fn redeliver_webhooks(&self, endpoint: &str) -> Result<usize, ControlServerError> {
        let redelivery: Redelivery = self.post(&path::redeliver(endpoint), Vec::new(), &[]).await?;
        Ok(redelivery.due)
    }

    /// Starts building a token cache that fetches the tokens of this app from the server. It has the clock of this client.
    ///
    /// It needs no AppSecret. It serves a token for the ttl that the server gave, and requests the next one ahead of time.
    /// It reports a token that Weixin rejected. It survives a restart of the server.
    ///
    /// ```
    /// # use wxsub_core::transport::{HttpRequest, TransportError};
    /// # use wxsub_core::proto::codec::RawResponse;
    /// use wxsub_client::{ApiKey, ControlServer};
    /// use wxsub_core::Client;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # async fn transport(_: HttpRequest) -> Result<RawResponse<bytes::Bytes>, TransportError> {
    /// #     Ok(RawResponse::new(200, "{}".into()))
    /// # }
    /// # let key = "a".repeat(ApiKey::LENGTH);
    /// let server = ControlServer::new("https://wxsub.internal".parse()?, ApiKey::new(key)?, transport);
    /// let tokens = server.token_cache("wx0123456789abcdef".parse()?).build();
    /// let client = Client::with_token_source(tokens, transport).build();
    /// # Ok(()) }
    /// ```
    pub fn token_cache(&self, appid: AppId) -> TokenCacheBuilder<Arc<dyn TokenUpstream>> {
        let upstream = ControlServerUpstream { server: self.clone(), appid };
        TokenCache::from_upstream(upstream).clock(Arc::clone(&self.clock))
    }

    /// Reads the current token, or reports the rejected one.
    async fn fetch_token(
        &self,
        appid: &AppId,
        rejected: Option<&AccessToken>,
    ) -> Result<FetchedToken, ControlServerError> {
        let TokenResponse { access_token, expires_in, generation } = match rejected {
            None => self.get(&path::access_token(appid)).await?,
            Some(token) => {
                let report = json(&ReportRequest { access_token: Cow::Borrowed(token) })?;
                self.post(&path::report(appid), report, &[]).await?
            }
        };
        let fetched = FetchedToken::new(access_token.into_owned(), Duration::from_secs(expires_in));
        Ok(fetched.with_generation(Generation::new(generation)))
    }

    /// Reads the JSON at this path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlServerError> {
        parse(&self.call(http::Method::GET, path, Vec::new(), &[]).await?)
    }

    /// Posts this JSON, and reads that of the response.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        json: Vec<u8>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<T, ControlServerError> {
        parse(&self.call(http::Method::POST, path, json, headers).await?)
    }

    /// Makes one request with these headers.
    pub(crate) async fn call(
        &self,
        method: http::Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<RawResponse<Bytes>, ControlServerError> {
        let request = self.request(method, path, body, headers);
        let request = request.map_err(ControlServerError::from_transport)?;
        let deadline = self.clock.now().mono + self.timeout;
        let response = timeout_at(&*self.clock, deadline, self.transport.execute(request)).await;
        response.ok_or(ControlServerError::Timeout)?.map_err(ControlServerError::from_transport)
    }

    fn request(
        &self,
        method: http::Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<HttpRequest, TransportError> {
        let mut bearer = HeaderValue::try_from(self.key.to_bearer().as_str())
            .map_err(|_| invalid_request("the key is no valid header value"))?;
        bearer.set_sensitive(true);
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, bearer);
        let request = match headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            true => request,
            false => request.header(CONTENT_TYPE, "application/json"),
        };
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = request
            .body(Bytes::from(body))
            .map_err(|_| invalid_request("base URL and path make no valid URL"))?;
        Ok(HttpRequest::from_http(request).max_response_bytes(MAX_RESPONSE_BYTES))
    }
}

pub(crate) fn key_header(key: Option<&IdempotencyKey>) -> Vec<(HeaderName, HeaderValue)> {
    // A key has visible ASCII characters only. Quoted, it may begin with a quote.
    let quoted = |key: &IdempotencyKey| key.as_str().replace('\\', "\\\\").replace('"', "\\\"");
    let value = key.and_then(|key| HeaderValue::try_from(format!("\"{}\"", quoted(key))).ok());
    value.map(|value| (IDEMPOTENCY_KEY, value)).into_iter().collect()
}

pub(crate) fn json(body: &impl Serialize) -> Result<Vec<u8>, ControlServerError> {
    let invalid = |_| ControlServerError::from_transport(invalid_request("the request is no valid JSON"));
    serde_json::to_vec(body).map_err(invalid)
}

fn invalid_request(detail: &str) -> TransportError {
    TransportError::before_sending(TransportErrorKind::Other, detail)
}

fn parse<T: DeserializeOwned>(response: &RawResponse<Bytes>) -> Result<T, ControlServerError> {
    read_success(response, |body| serde_json::from_slice(body).ok())
}

/// Reads the body of a successful response.
pub(crate) fn read_success<T>(
    response: &RawResponse<Bytes>,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, ControlServerError> {
    let status = response.status;
    match (200..300).contains(&status) {
        true => read(&response.body).ok_or(ControlServerError::InvalidResponse { status }),
        false => Err(ControlServerError::problem(response)),
    }
}

fn cached_token(fetched: FetchedToken, requested_at: ClockReading) -> CachedToken {
    let generation = fetched.generation.unwrap_or_default();
    CachedToken::new(fetched.token, generation, requested_at, fetched.lifetime)
}

impl fmt::Debug for ControlServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, timeout, .. } = self;
        f.debug_struct("ControlServer").field("base", base).field("timeout", timeout).finish_non_exhaustive()
    }
}

/// A control server as the upstream of a token cache.
#[derive(Debug)]
struct ControlServerUpstream {
    server: ControlServer,
    appid: AppId,
}

#[async_trait]
impl TokenUpstream for ControlServerUpstream {
    fn appid(&self) -> &AppId {
        &self.appid
    }

    fn behavior(&self) -> UpstreamBehavior {
        UpstreamBehavior::token_service().named(LocalizedText::new("the control server", "中控服务器"))
    }

    async fn fetch(&self, request: UpstreamRequest<'_>) -> Result<FetchedToken, TokenErrorKind> {
        let fetch = self.server.fetch_token(&self.appid, request.rejected);
        fetch.await.map_err(ControlServerError::into_token_error)
    }
}
