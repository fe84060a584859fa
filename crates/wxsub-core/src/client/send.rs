//! Sends one message: one call, and one more if Weixin rejects the token as stale.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;
use wxsub_proto::endpoint::subscribe;
use wxsub_proto::{ApiError, AppId, ErrCode, Message, TraceId};

use super::Client;
use crate::clock::{MonotonicInstant, timeout_at};
use crate::error::{Cause, Delivery, SendError};
use crate::jitter::Jitter;
use crate::retry::retry_delay;
use crate::token::{CachedToken, Evidence, TokenErrorKind};
use crate::transport::{HttpRequest, RequestState};

impl Client {
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
        let posting = AtomicBool::new(false);
        let outcome = tokio::select! {
            biased;
            outcome = self.deliver(message, &posting) => outcome,
            () = stop => Err(Cause::Stopped(match posting.load(Ordering::Relaxed) {
                false => RequestState::NotSent,
                true => RequestState::MaybeSent,
            })),
        };
        outcome.map_err(SendError::new).inspect_err(|error| self.log(message, error))
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

    /// Sends the message. `posting` is true while a post is running.
    async fn deliver(&self, message: &Message, posting: &AtomicBool) -> Result<(), Cause> {
        let deadline = self.inner.clock.now().mono + self.inner.timeout;
        // A statement of its own, so that the borrow ends before the first await.
        let current = self.inner.source.current().to_owned();
        let token = match current {
            Some(token) => token,
            None => self.with_deadline(deadline, self.inner.source.token()).await?.map_err(Cause::Token)?,
        };
        match self.post(message, &token, deadline, posting).await {
            Err(Cause::Refused(api_error)) if api_error.errcode().is_stale_token() => {
                let new_token = self.refresh_after_rejection(&token, api_error, deadline).await?;
                let outcome = self.post(message, &new_token, deadline, posting).await;
                if matches!(&outcome, Err(Cause::Refused(api_error)) if api_error.errcode().is_stale_token())
                {
                    // The message is not posted a third time. The report keeps other sends from this token.
                    let _ = self
                        .with_deadline(
                            deadline,
                            self.inner.source.refresh(new_token.generation(), Evidence::Observed),
                        )
                        .await;
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
            Ok(new_token) => Ok(new_token),
            Err(error) if matches!(error.kind(), TokenErrorKind::NotRefreshable) => {
                Err(Cause::Refused(api_error))
            }
            Err(error) => Err(Cause::Token(error)),
        }
    }

    /// Posts the message. Repeats it only if it was certainly not sent.
    async fn post(
        &self,
        message: &Message,
        token: &CachedToken,
        deadline: MonotonicInstant,
        posting: &AtomicBool,
    ) -> Result<(), Cause> {
        let mut attempts = 1;
        loop {
            posting.store(true, Ordering::Relaxed);
            let outcome = self.post_once(message, token, deadline).await;
            posting.store(false, Ordering::Relaxed);
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
        if inner.clock.now().mono >= deadline {
            return Err(Cause::TokenTimeout);
        }
        let base = inner.hosts.preferred(inner.clock.now().mono);
        let request = subscribe::request(token.token(), message);
        let http_request = HttpRequest::new(base, request).map_err(Cause::Transport)?;
        let response = timeout_at(&*inner.clock, deadline, inner.transport.execute(http_request)).await;
        let result = response.ok_or(Cause::SendTimeout).and_then(|raw| {
            let raw = raw.map_err(Cause::Transport)?;
            subscribe::parse_response(raw.status, &raw.body).map_err(Cause::Unreadable)
        });
        if result.is_err() {
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
