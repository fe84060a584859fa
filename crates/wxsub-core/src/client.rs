//! The client: sends messages with the current token.
//!
//! A send makes one call, and one more if Weixin rejects the token as stale.

use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;
use tracing::warn;
use wxsub_proto::endpoint::subscribe;
use wxsub_proto::{
    ApiError, AppId, AppSecret, BaseUrl, BaseUrls, ErrCode, Message, Operation, TraceId, ValidationError,
    ValidationErrors,
};

use crate::clock::{Clock, MonotonicInstant, SystemClock, timeout_at};
use crate::error::{Cause, Delivery, SendError};
use crate::hosts::Hosts;
use crate::jitter::{self, Jitter};
use crate::retry::{RetryBudget, retry_delay};
use crate::token::{CachedToken, Evidence, TokenCache, TokenCacheBuilder, TokenSource};
use crate::transport::{HttpRequest, RequestState, Transport};

/// Minimum time for a response whose absence counts as a failure of the host.
const MIN_HOST_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one-time subscription messages for one app.
///
/// A clone is cheap and shares the token and the connections. Clients of several apps are independent.
///
/// ```
/// # use bytes::Bytes;
/// # use wxsub_core::transport::{HttpRequest, TransportError};
/// use wxsub_core::Client;
/// use wxsub_core::proto::{Grant, Message, codec::RawResponse};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let transport = |request: HttpRequest| async move {
/// #     let body = match request.path() {
/// #         "/cgi-bin/token" => r#"{"access_token":"T","expires_in":7200}"#,
/// #         _ => r#"{"errcode":0,"errmsg":"ok"}"#,
/// #     };
/// #     Ok::<_, TransportError>(RawResponse::new(200, Bytes::from(body)))
/// # };
/// let client = Client::builder("wx0123456789abcdef", "SECRET", transport).build()?;
///
/// let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
/// let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
/// client.send(&message).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, derive_more::Debug)]
#[debug("Client({:?} at {})", inner.source, inner.hosts.bases())]
pub struct Client {
    inner: Arc<Inner>,
}

/// The call that a send makes, and whether the message may have been sent.
type Progress = Mutex<(Operation, RequestState)>;

struct Inner {
    source: Arc<dyn TokenSource>,
    transport: Arc<dyn Transport>,
    hosts: Hosts,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    budget: RetryBudget,
    /// The seed of the next jitter.
    seed: AtomicU64,
}

/// The default of [`ClientBuilder::timeout`].
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Builds a [`Client`]. `T` says where its tokens come from: a token cache of its own, or an `Arc<dyn TokenSource>`.
#[must_use = "a builder does nothing before `build`"]
#[derive(derive_more::Debug, derive_setters::Setters)]
#[debug("ClientBuilder({bases})")]
#[setters(generate = false)]
pub struct ClientBuilder<T = TokenCacheBuilder> {
    tokens: T,
    transport: Arc<dyn Transport>,
    /// Sets the base URLs in order of preference. Weixin documents [several hosts](BaseUrl::API).
    ///
    /// If a host gives no response of Weixin's, the client calls the next one. It tries the first host again after
    /// 5 min.
    ///
    /// A message goes to the next host only if it was certainly not sent, within the same deadline and retry
    /// budget. The token cache may also repeat a token call there with its next attempt.
    #[setters(generate, rename = "api_bases")]
    bases: BaseUrls,
    clock: Arc<dyn Clock>,
    /// Sets the timeout of one send, with the time to get a token. Default: 30 s.
    #[setters(generate)]
    timeout: Duration,
    /// Sets the seed of the jitter of retries, so that a run can be repeated. Default: random.
    #[setters(generate, rename = "rng_seed", strip_option)]
    seed: Option<u64>,
}

impl Client {
    /// Starts building a client with its own token cache. [`build`](ClientBuilder::build) reports an invalid AppID or
    /// AppSecret.
    pub fn builder(
        appid: impl TryInto<AppId, Error: Into<ValidationError>>,
        secret: impl TryInto<AppSecret, Error: Into<ValidationError>>,
        transport: impl Transport + 'static,
    ) -> ClientBuilder {
        let transport: Arc<dyn Transport> = Arc::new(transport);
        ClientBuilder::new(TokenCache::builder(appid, secret, Arc::clone(&transport)), transport)
    }

    /// Starts building a client with this token source: a shared token cache, or your own.
    pub fn with_token_source(
        source: impl TokenSource + 'static,
        transport: impl Transport + 'static,
    ) -> ClientBuilder<Arc<dyn TokenSource>> {
        ClientBuilder::new(Arc::new(source), Arc::new(transport))
    }
}

impl<T> ClientBuilder<T> {
    fn new(tokens: T, transport: Arc<dyn Transport>) -> Self {
        Self {
            tokens,
            transport,
            bases: BaseUrls::default(),
            clock: Arc::new(SystemClock::new()),
            timeout: DEFAULT_TIMEOUT,
            seed: None,
        }
    }

    /// Sets the base URL for messages and token fetches. Default: `https://api.weixin.qq.com`.
    pub fn api_base(self, base: BaseUrl) -> Self {
        self.api_bases(base.into())
    }

    /// Sets the clock of the client and its own token cache. Default: [`SystemClock`].
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }
}

impl ClientBuilder {
    /// Configures the token cache: endpoint, store, observer, or another base URL or clock.
    pub fn token_cache(self, set_up: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder) -> Self {
        Self { tokens: set_up(self.tokens), ..self }
    }

    /// Builds the client. It fetches nothing and spawns nothing before its first use.
    ///
    /// # Errors
    /// [`ValidationErrors`] lists all problems of AppID and AppSecret.
    pub fn build(self) -> Result<Client, ValidationErrors> {
        let Self { tokens, transport, bases, clock, timeout, seed } = self;
        let tokens: Arc<dyn TokenSource> = Arc::new(tokens.inherit_defaults(&bases, &clock).build()?);
        Ok(ClientBuilder { tokens, transport, bases, clock, timeout, seed }.build())
    }
}

impl ClientBuilder<Arc<dyn TokenSource>> {
    /// Builds the client.
    pub fn build(self) -> Client {
        let Self { tokens: source, transport, bases, clock, timeout, seed } = self;
        let (hosts, budget) = (Hosts::new(bases), RetryBudget::new());
        let seed = AtomicU64::new(seed.unwrap_or_else(jitter::random_seed));
        Client { inner: Arc::new(Inner { source, transport, hosts, clock, timeout, budget, seed }) }
    }
}

impl Client {
    /// Returns the source of the tokens.
    pub fn token_source(&self) -> &Arc<dyn TokenSource> {
        &self.inner.source
    }

    /// Sends one message. `Ok` means that Weixin accepted it.
    ///
    /// The message is posted once. It is posted once more, with another token, if Weixin rejected the token as
    /// stale.
    ///
    /// A connection that fails is retried, because nothing was posted: up to three attempts, or one for each host
    /// if there are more. All sends of the client share a retry budget. Nothing else is repeated, because Weixin
    /// cannot tell a repetition from a second message.
    ///
    /// A failed send is logged as one warning, without the openid.
    ///
    /// # Errors
    /// [`SendError`] says whether the message was sent, which errcode Weixin sent, and what to do.
    ///
    /// # Cancel safety
    /// Not cancel safe: after the future is dropped, it is unknown whether the message was sent. Use
    /// [`send_until`](Self::send_until) to stop a send.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        self.send_until(message, pending()).await
    }

    /// Sends one message as [`send`](Self::send) does, unless `stop` completes first.
    ///
    /// The error then says whether the message may have been sent. It was not sent if no post was running when
    /// `stop` completed.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`ErrorKind::Stopped`](crate::error::ErrorKind::Stopped).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send): complete `stop` instead of dropping the future.
    pub async fn send_until(
        &self,
        message: &Message,
        stop: impl Future<Output = ()>,
    ) -> Result<(), SendError> {
        let progress = Mutex::new((Operation::FetchToken, RequestState::NotSent));
        let outcome = tokio::select! {
            biased;
            outcome = self.deliver(message, &progress) => outcome,
            () = stop => {
                let (operation, state) = *progress.lock();
                Err(Cause::Stopped(operation, state))
            }
        };
        outcome
            .map_err(|cause| SendError::new(cause, self.inner.clock.now().wall))
            .inspect_err(|error| self.log(message, error))
    }

    /// Sends messages as they come, at most `max_in_flight` at a time. Returns the key of each message with its
    /// outcome, in their order. The key is yours: a row number, an order, or a copy of the message.
    ///
    /// The stream reads no message ahead, so memory does not grow with their number. It does nothing unless it is
    /// polled.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send): if the stream is dropped, it is unknown whether the messages in flight were sent.
    pub fn send_all<K, S>(
        &self,
        messages: S,
        max_in_flight: NonZeroUsize,
    ) -> impl Stream<Item = (K, Result<(), SendError>)> + use<K, S>
    where
        S: Stream<Item = (K, Message)>,
    {
        let client = self.clone();
        messages
            .map(move |(key, message)| {
                let client = client.clone();
                async move { (key, client.send(&message).await) }
            })
            .buffered(max_in_flight.get())
    }

    fn log(&self, message: &Message, error: &SendError) {
        // Weixin's text may contain parts of the request.
        let api_error =
            error.api_error().map(|api_error| api_error.redact(message.grant().openid().as_str()));
        let text =
            api_error.as_ref().map_or_else(|| error.to_string(), |api_error| api_error.errmsg().to_owned());
        warn!(
            appid = self.inner.source.appid().map(AppId::as_str),
            errcode = error.errcode().map(ErrCode::get),
            text,
            rid = api_error.as_ref().and_then(ApiError::trace_id).map(TraceId::as_str),
            remedy = error.remedy().as_str(),
            "{}",
            match error.delivery() {
                Delivery::Rejected => "Weixin refused a message",
                Delivery::NotSent => "a message was not sent",
                Delivery::MaybeSent => "a message may have been sent",
            }
        );
    }

    async fn deliver(&self, message: &Message, progress: &Progress) -> Result<(), Cause> {
        let deadline = self.inner.clock.now().mono + self.inner.timeout;
        // A statement of its own, so that the borrow ends before the first await.
        let current = self.inner.source.current().to_owned();
        let token = match current {
            Some(token) => token,
            None => self.with_deadline(deadline, self.inner.source.token()).await?.map_err(Cause::Token)?,
        };
        match self.post(message, &token, deadline, progress).await {
            Err(Cause::Refused(api_error)) if api_error.errcode().is_stale_token() => {
                *progress.lock() = (Operation::FetchToken, RequestState::NotSent);
                let new_token = self.refresh_after_rejection(&token, api_error, deadline).await?;
                let outcome = self.post(message, &new_token, deadline, progress).await;
                if matches!(&outcome, Err(Cause::Refused(api_error)) if api_error.errcode().is_stale_token())
                {
                    // The message is not posted a third time. The report keeps other sends from this token, and this
                    // send does not wait for the next one.
                    let report = self.inner.source.refresh(new_token.generation(), Evidence::Observed);
                    let _ = report.now_or_never();
                }
                outcome
            }
            outcome => outcome,
        }
    }

    /// Gets another token after Weixin rejected one as stale.
    async fn refresh_after_rejection(
        &self,
        stale: &CachedToken,
        api_error: ApiError,
        deadline: MonotonicInstant,
    ) -> Result<Arc<CachedToken>, Cause> {
        let refresh = self.inner.source.refresh(stale.generation(), Evidence::Observed);
        match self.with_deadline(deadline, refresh).await? {
            Ok(new_token) if new_token.token().ct_eq(stale.token()) => Err(Cause::Refused(api_error)),
            outcome => outcome.map_err(Cause::Token),
        }
    }

    /// Posts the message. Repeats it only if it was certainly not sent.
    async fn post(
        &self,
        message: &Message,
        token: &CachedToken,
        deadline: MonotonicInstant,
        progress: &Progress,
    ) -> Result<(), Cause> {
        let mut attempts = 1;
        loop {
            *progress.lock() = (Operation::Send, RequestState::MaybeSent);
            let outcome = self.post_once(message, token, deadline).await;
            *progress.lock() = (Operation::Send, RequestState::NotSent);
            let error = match &outcome {
                Err(Cause::Transport(error)) => error,
                Ok(()) | Err(Cause::Refused(_)) => {
                    self.inner.budget.deposit();
                    return outcome;
                }
                Err(_) => return outcome,
            };
            let now = self.inner.clock.now().mono;
            let mut jitter = Jitter::seeded(self.inner.seed.fetch_add(1, Ordering::Relaxed));
            let hosts = u32::try_from(self.inner.hosts.bases().count()).unwrap_or(u32::MAX);
            match retry_delay(error, attempts, hosts, &mut jitter).map(|pause| now + pause) {
                Some(retry_at) if retry_at < deadline && self.inner.budget.withdraw() => {
                    self.inner.clock.sleep_until(retry_at).await;
                    if self.inner.clock.now().mono >= deadline {
                        return outcome;
                    }
                }
                _ => return outcome,
            }
            attempts += 1;
        }
    }

    /// Makes one exchange. Posts nothing after the deadline.
    async fn post_once(
        &self,
        message: &Message,
        token: &CachedToken,
        deadline: MonotonicInstant,
    ) -> Result<(), Cause> {
        let inner = &*self.inner;
        let start = inner.clock.now().mono;
        if start >= deadline {
            return Err(Cause::TokenTimeout);
        }
        let base = inner.hosts.preferred(start);
        let request = subscribe::request(token.token(), message);
        let http_request = HttpRequest::new(base, request).map_err(Cause::Transport)?;
        let response = timeout_at(&*inner.clock, deadline, inner.transport.execute(http_request)).await;
        let result = response.ok_or(Cause::SendTimeout).and_then(|raw| {
            let raw = raw.map_err(Cause::Transport)?;
            subscribe::parse_response(raw.status, &raw.body).map_err(Cause::Unreadable)
        });
        let had_time = deadline.duration_since(start) >= MIN_HOST_TIMEOUT;
        if matches!(&result, Err(cause) if had_time || !matches!(cause, Cause::SendTimeout)) {
            inner.hosts.failed(base, inner.clock.now().mono);
        }
        match result? {
            Ok(()) => Ok(()),
            Err(api_error) => Err(Cause::Refused(api_error.redact(token.token().expose_secret()))),
        }
    }

    async fn with_deadline<T>(
        &self,
        deadline: MonotonicInstant,
        work: impl Future<Output = T>,
    ) -> Result<T, Cause> {
        timeout_at(&*self.inner.clock, deadline, work).await.ok_or(Cause::TokenTimeout)
    }
}
