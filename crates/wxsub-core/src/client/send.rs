//! One message: one call, and one more if Weixin says that the token was stale.

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
    /// Sends one message. `Ok` means that Weixin took it.
    ///
    /// A message is posted once; and once more, with another token, if Weixin answered that the token was stale. A
    /// connection that cannot be made is tried up to three times, or once for each host if they are more, within a budget that
    /// all sends of the client share: nothing has been posted then. Nothing else is ever repeated, because Weixin has no way to tell a repetition from a
    /// second message.
    ///
    /// A send that fails is logged as one warning, without the openid.
    ///
    /// # Errors
    /// [`SendError`] says whether the message may have arrived, which code Weixin answered with and what to do.
    ///
    /// # Cancel safety
    /// Not cancel safe: a dropped future does not say whether the message may have arrived. Use
    /// [`send_until`](Self::send_until) to stop a send.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        self.send_until(message, pending()).await
    }

    /// [`send`](Self::send), unless `stop` completes first. The error then says whether the message may have been posted:
    /// it was not sent if `stop` completed while no post was under way.
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
        // The text is Weixin's, and may repeat the request.
        let refusal = error.refusal().map(|refusal| refusal.redact(message.grant().openid().as_str()));
        let text = refusal.as_ref().map_or_else(|| error.to_string(), |refusal| refusal.errmsg().to_owned());
        warn!(
            appid = self.inner.source.appid().map(AppId::as_str),
            errcode = error.errcode().map(ErrCode::get),
            text,
            rid = refusal.as_ref().and_then(ApiError::trace_id).map(TraceId::as_str),
            remedy = error.remedy().as_str(),
            "{}",
            match error.delivery() {
                Delivery::Rejected => "Weixin refused a message",
                Delivery::NotSent => "a message was not sent",
                Delivery::MaybeSent => "a message may have been sent",
            }
        );
    }

    /// `posting` is set while a post is under way whose outcome is not known.
    async fn deliver(&self, message: &Message, posting: &AtomicBool) -> Result<(), Cause> {
        let deadline = self.inner.clock.now().mono.after(self.inner.timeout);
        // By itself, so that the borrow of the slot ends before anything is waited for.
        let current = self.inner.source.current().to_owned();
        let issued = match current {
            Some(issued) => issued,
            None => self.with_deadline(deadline, self.inner.source.token()).await?.map_err(Cause::Token)?,
        };
        match self.post(message, &issued, deadline, posting).await {
            Err(Cause::Refused(refusal)) if refusal.errcode().is_stale_token() => {
                let fresh = self.refresh_after_rejection(&issued, refusal, deadline).await?;
                let outcome = self.post(message, &fresh, deadline, posting).await;
                if matches!(&outcome, Err(Cause::Refused(refusal)) if refusal.errcode().is_stale_token()) {
                    // The message is not posted a third time, but nobody else should meet this token.
                    let _ = self
                        .with_deadline(
                            deadline,
                            self.inner.source.refresh(fresh.generation(), Evidence::Observed),
                        )
                        .await;
                }
                outcome
            }
            outcome => outcome,
        }
    }

    /// Another token than the one Weixin has just called stale.
    async fn refresh_after_rejection(
        &self,
        stale: &CachedToken,
        refusal: ApiError,
        deadline: MonotonicInstant,
    ) -> Result<Arc<CachedToken>, Cause> {
        let refresh = self.inner.source.refresh(stale.generation(), Evidence::Observed);
        match self.with_deadline(deadline, refresh).await? {
            Ok(fresh) if fresh.token().ct_eq(stale.token()) => Err(Cause::Refused(refusal)),
            Ok(fresh) => Ok(fresh),
            Err(error) if matches!(error.kind(), TokenErrorKind::NotRefreshable) => {
                Err(Cause::Refused(refusal))
            }
            Err(error) => Err(Cause::Token(error)),
        }
    }

    /// Posts the message; again only if it certainly did not leave.
    async fn post(
        &self,
        message: &Message,
        issued: &CachedToken,
        deadline: MonotonicInstant,
        posting: &AtomicBool,
    ) -> Result<(), Cause> {
        let mut tries = 1;
        loop {
            posting.store(true, Ordering::Relaxed);
            let outcome = self.post_once(message, issued, deadline).await;
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
            match retry_delay(error, tries, hosts, &mut jitter).map(|pause| now.after(pause)) {
                Some(then) if then < deadline && self.inner.budget.withdraw() => {
                    self.inner.clock.sleep_until(then).await;
                }
                _ => return outcome,
            }
            tries += 1;
        }
    }

    /// The one exchange. Nothing is posted after the deadline.
    async fn post_once(
        &self,
        message: &Message,
        issued: &CachedToken,
        deadline: MonotonicInstant,
    ) -> Result<(), Cause> {
        let inner = &*self.inner;
        if inner.clock.now().mono >= deadline {
            return Err(Cause::TokenTimeout);
        }
        let base = inner.hosts.preferred(inner.clock.now().mono);
        let request = subscribe::request(issued.token(), message);
        let outgoing = HttpRequest::new(base, request).map_err(Cause::Transport)?;
        let exchanged = timeout_at(&*inner.clock, deadline, inner.transport.execute(outgoing)).await;
        let answered = exchanged.ok_or(Cause::SendTimeout).and_then(|raw| {
            let raw = raw.map_err(Cause::Transport)?;
            subscribe::parse_response(raw.status, &raw.body).map_err(Cause::Unreadable)
        });
        if answered.is_err() {
            inner.hosts.failed(base, inner.clock.now().mono);
        }
        match answered? {
            Ok(()) => Ok(()),
            Err(refusal) => Err(Cause::Refused(refusal.redact(issued.token().expose_secret()))),
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
