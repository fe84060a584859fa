//! One message: one call, and one more if Weixin says that the token was stale.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wxsub_proto::codec::Reply;
use wxsub_proto::endpoint::subscribe;
use wxsub_proto::{Message, Refusal};

use super::Client;
use crate::clock::{Mono, until};
use crate::error::{Cause, SendError};
use crate::jitter::Jitter;
use crate::retry::again;
use crate::token::{Evidence, Failure, Issued};
use crate::transport::Outgoing;

impl Client {
    /// Sends one message. `Ok` means that Weixin took it.
    ///
    /// A message is posted once; and once more, with another token, if Weixin answered that the token was stale. A
    /// connection that cannot be made is tried up to three times, within a budget that all sends of the client share:
    /// nothing has been posted then. Nothing else is ever repeated, because Weixin has no way to tell a repetition from a
    /// second message.
    ///
    /// # Errors
    /// [`SendError`] says whether the message may have arrived, which code Weixin answered with and what to do.
    ///
    /// # Cancel safety
    /// Not cancel safe: after dropping the future nobody can tell whether the message arrived.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        self.deliver(message).await.map_err(SendError::new)
    }

    async fn deliver(&self, message: &Message) -> Result<(), Cause> {
        let deadline = self.inner.clock.now().mono.after(self.inner.timeout);
        // By itself, so that the borrow of the slot ends before anything is waited for.
        let current = self.inner.source.current().to_owned();
        let issued = match current {
            Some(issued) => issued,
            None => self.within(deadline, self.inner.source.token()).await?.map_err(Cause::Token)?,
        };
        match self.post(message, &issued, deadline).await {
            Err(Cause::Refused(refusal)) if refusal.errcode().is_stale_token() => {
                let fresh = self.replace(&issued, refusal, deadline).await?;
                let outcome = self.post(message, &fresh, deadline).await;
                if matches!(&outcome, Err(Cause::Refused(refusal)) if refusal.errcode().is_stale_token()) {
                    // The message is not posted a third time, but nobody else should meet this token.
                    let _ = self
                        .within(deadline, self.inner.source.refresh(fresh.generation(), Evidence::Seen))
                        .await;
                }
                outcome
            }
            outcome => outcome,
        }
    }

    /// Another token than the one Weixin has just called stale.
    async fn replace(&self, stale: &Issued, refusal: Refusal, deadline: Mono) -> Result<Arc<Issued>, Cause> {
        let refresh = self.inner.source.refresh(stale.generation(), Evidence::Seen);
        match self.within(deadline, refresh).await? {
            Ok(fresh) if fresh.token().same_as(stale.token()) => Err(Cause::Refused(refusal)),
            Ok(fresh) => Ok(fresh),
            Err(error) if matches!(error.why(), Failure::Fixed) => Err(Cause::Refused(refusal)),
            Err(error) => Err(Cause::Token(error)),
        }
    }

    /// Posts the message; again only if it certainly did not leave.
    async fn post(&self, message: &Message, issued: &Issued, deadline: Mono) -> Result<(), Cause> {
        let mut tries = 1;
        loop {
            let outcome = self.post_once(message, issued, deadline).await;
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
            match again(error, tries, &mut jitter).map(|pause| now.after(pause)) {
                Some(then) if then < deadline && self.inner.budget.withdraw() => {
                    self.inner.clock.sleep_until(then).await;
                }
                _ => return outcome,
            }
            tries += 1;
        }
    }

    /// The one exchange. Nothing is posted after the deadline.
    async fn post_once(&self, message: &Message, issued: &Issued, deadline: Mono) -> Result<(), Cause> {
        let inner = &*self.inner;
        if inner.clock.now().mono >= deadline {
            return Err(Cause::TokenTimeout);
        }
        let request = subscribe::encode(issued.token(), message);
        let outgoing = Outgoing::new(&inner.base, request).map_err(Cause::Transport)?;
        let exchanged = until(&*inner.clock, deadline, inner.transport.exchange(outgoing)).await;
        let raw = exchanged.ok_or(Cause::SendTimeout)?.map_err(Cause::Transport)?;
        match subscribe::read(raw.status, &raw.body).map_err(Cause::Unreadable)? {
            Reply::Done(()) => Ok(()),
            Reply::Refused(refusal) => Err(Cause::Refused(refusal.without(issued.token().expose()))),
        }
    }

    async fn within<T>(&self, deadline: Mono, work: impl Future<Output = T>) -> Result<T, Cause> {
        until(&*self.inner.clock, deadline, work).await.ok_or(Cause::TokenTimeout)
    }
}
