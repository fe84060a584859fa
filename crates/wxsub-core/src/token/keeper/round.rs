//! One attempt to get a token: lease, store, mark, call, put. What to do and when was decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use wxsub_proto::codec::Reply;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenReply, TokenRequest};
use wxsub_proto::{AppId, AppSecret, BaseUrl};

use crate::clock::{Clock, Moment, Mono, UnixMillis, until};
use crate::store::{Put, Record, StoreError, StoredToken, TokenStore};
use crate::token::{ClientKey, Event, Failure, Generation, Issued, Mode, Order, Outcome, TokenEndpoint};
use crate::transport::{Outgoing, Transport};

/// How long the store may take for one answer; a round asks it a few times, within its lease.
const STORE: Duration = Duration::from_secs(2);

/// How often a token is offered to the store again after losing to another.
const OFFERS: usize = 3;

/// What every attempt needs.
pub(super) struct Rounds {
    pub(super) appid: AppId,
    pub(super) origin: Origin,
    pub(super) base: BaseUrl,
    pub(super) endpoint: TokenEndpoint,
    pub(super) holder: String,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Who issues the tokens.
pub(super) enum Origin {
    Weixin(AppSecret),
    /// A control server, which keeps them for others too.
    Server(ClientKey),
}

impl Rounds {
    /// What the store holds, if it holds a token. One that has lost its records, or was away when the token held came, is
    /// given that.
    pub(super) async fn stored(&self, held: Option<Arc<Issued>>) -> Option<Event> {
        let record = self.ask(self.store.load(&self.appid)).await.ok()?;
        let ahead = held.filter(|held| held.generation() > record.generation());
        if let Some(held) = ahead.filter(|held| held.is_usable(self.clock.now())) {
            let put = self.store.put_if_newer(&self.appid, record.generation(), self.to_store(&held));
            return match self.ask(put).await {
                Ok(Put::Stored) => {
                    Some(Event::Published { generation: held.generation(), replaced: record.generation() })
                }
                // The next reading shows what it holds.
                Ok(Put::Lost(_)) | Err(_) => None,
            };
        }
        let Record { token, lost_since, .. } = record;
        token.map(|stored| Event::Loaded { issued: Arc::new(stored.to_issued(self.clock.now())), lost_since })
    }

    /// Asks the store, which must not keep anybody waiting.
    async fn ask<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let deadline = self.clock.now().mono.after(STORE);
        until(&*self.clock, deadline, work).await.unwrap_or_else(|| Err(StoreError::new("no answer in time")))
    }

    /// Gets a token.
    pub(super) async fn carry_out(&self, order: &Order) -> Outcome {
        match &self.origin {
            Origin::Weixin(secret) => self.ask_weixin(order, secret).await,
            Origin::Server(key) => self.ask_server(order, key).await,
        }
    }

    /// From the store if it holds a newer one than the order knows, else from Weixin.
    async fn ask_weixin(&self, order: &Order, secret: &AppSecret) -> Outcome {
        // The store counts from when it is asked or later, and its clock may be a little faster.
        let trusted = self.clock.now().mono.after(order.lease * 5 / 6);
        let Ok(leased) = self.ask(self.store.lease(&self.appid, &self.holder, order.lease)).await else {
            return self.ask_weixin_alone(order, secret).await;
        };
        let Ok(record) = self.ask(self.store.load(&self.appid)).await else {
            return self.ask_weixin_alone(order, secret).await;
        };
        if let Some(outcome) = self.adopt(&record, order) {
            if leased {
                self.give_back().await;
            }
            return outcome;
        }
        if !leased {
            return Outcome::Elsewhere;
        }
        let outcome = self.fetch(order, secret, record, trusted).await;
        match &outcome {
            Outcome::Failed(failure) if failure.meets_everybody() => self.hold_back(order.lease / 3).await,
            _ => self.give_back().await,
        }
        outcome
    }

    /// Without the store: what was known before this process started, or another if the order says so.
    async fn ask_weixin_alone(&self, order: &Order, secret: &AppSecret) -> Outcome {
        let token = self.store.last_known(&self.appid).await;
        let remembered = Record { token, ..Record::default() };
        if let Some(outcome) = self.adopt(&remembered, order) {
            return outcome;
        }
        if !order.alone {
            return Outcome::StoreAway;
        }
        let until = self.clock.now().mono.after(order.lease);
        match self.fetch(order, secret, Record::default(), until).await {
            Outcome::Issued(issued) => Outcome::IssuedAlone(issued),
            other => other,
        }
    }

    /// A newer token that somebody else has fetched makes the call unnecessary.
    fn adopt(&self, record: &Record, order: &Order) -> Option<Outcome> {
        let now = self.clock.now();
        let issued = record.token.as_ref()?.to_issued(now);
        let rejected =
            order.rejected.as_ref().is_some_and(|rejected| rejected.token().same_as(issued.token()));
        let newer = issued.generation() > order.known && issued.is_usable(now) && !rejected;
        let lost_since = record.lost_since;
        newer.then(|| Outcome::Adopted { issued: Arc::new(issued), lost_since, raced: false })
    }

    /// Fetches while the lease can be trusted.
    async fn fetch(&self, order: &Order, secret: &AppSecret, record: Record, trusted: Mono) -> Outcome {
        let asked = self.clock.now();
        if order.mode == Mode::Forced
            && !self.ask(self.store.take_force(&self.appid, asked.wall)).await.unwrap_or(false)
        {
            return Outcome::Failed(Failure::StillRejected);
        }
        self.mark(asked.wall).await;
        if self.clock.now().mono >= trusted {
            // This process was stopped for a while, or the store was slow: somebody else may be fetching by now.
            self.unmark(asked.wall).await;
            return Outcome::Elsewhere;
        }
        let deadline = asked.mono.after(order.timeout).min(trusted);
        let replied = until(&*self.clock, deadline, self.call(secret, order.mode))
            .await
            .unwrap_or(Err(Failure::TimedOut));
        match replied {
            Ok(reply) => self.keep(order, record, &reply, asked).await,
            Err(failure) => {
                if !failure.maybe_applied() {
                    self.unmark(asked.wall).await;
                }
                Outcome::Failed(failure)
            }
        }
    }

    /// The one exchange with Weixin.
    async fn call(&self, own: &AppSecret, mode: Mode) -> Result<TokenReply, Failure> {
        let (appid, secret) = (self.appid.clone(), own.clone());
        let outgoing = match (self.endpoint, mode) {
            (TokenEndpoint::Token, _) => Outgoing::new(&self.base, TokenRequest::new(appid, secret).encode()),
            (TokenEndpoint::StableToken, mode) => {
                let request = StableTokenRequest::new(appid, secret);
                let request = if mode == Mode::Forced { request.forced() } else { request };
                Outgoing::new(&self.base, request.encode())
            }
        };
        let exchange = self.transport.exchange(outgoing.map_err(Failure::Transport)?);
        let raw = exchange.await.map_err(Failure::Transport)?;
        match TokenReply::read(raw.status, &raw.body).map_err(Failure::Unreadable)? {
            Reply::Done(reply) => Ok(reply),
            Reply::Refused(refusal) => Err(Failure::Refused(refusal.without(own.expose()))),
        }
    }

    /// Puts the token into the store. Whoever finds a newer one there adopts that. With `/cgi-bin/token` it is then as
    /// uncertain as after a lost reply, since Weixin may have issued the two in the other order.
    async fn keep(&self, order: &Order, mut record: Record, reply: &TokenReply, asked: Moment) -> Outcome {
        for _ in 0..OFFERS {
            let known = order.known.max(record.generation());
            let generation = match &record.token {
                // The same token again is no new generation, unless the store has lost a newer one meanwhile.
                Some(stored) if stored.token.same_as(&reply.access_token) && stored.generation == known => {
                    known
                }
                _ => known.next(asked.wall),
            };
            let issued = Issued::new(reply.access_token.clone(), generation, asked, reply.expires_in);
            if generation == record.generation() {
                self.unmark(asked.wall).await;
                return Outcome::Issued(Arc::new(issued));
            }
            let put = self.store.put_if_newer(&self.appid, record.generation(), self.to_store(&issued));
            match self.ask(put).await {
                Ok(Put::Lost(newer)) if newer.generation() > record.generation() => record = newer,
                Ok(Put::Stored) => return Outcome::Issued(Arc::new(issued)),
                // A store that cannot be reached, or has lost its records, does not make the token less good.
                Ok(Put::Lost(_)) | Err(_) => return Outcome::IssuedAlone(Arc::new(issued)),
            }
            if let Some(Outcome::Adopted { issued, lost_since, .. }) = self.adopt(&record, order) {
                let raced = self.endpoint == TokenEndpoint::Token;
                return Outcome::Adopted { issued, lost_since, raced };
            }
        }
        let known: Generation = order.known.max(record.generation());
        let issued = Issued::new(reply.access_token.clone(), known.next(asked.wall), asked, reply.expires_in);
        Outcome::IssuedAlone(Arc::new(issued))
    }

    /// As others are to know it. Where the wall clock was set back, the other clock says how old it is. A token of unknown age
    /// goes back as it was found.
    fn to_store(&self, issued: &Issued) -> StoredToken {
        if !issued.has_known_age() {
            return StoredToken::from(issued);
        }
        let now = self.clock.now();
        let asked = now.wall.before(issued.life().saturating_sub(issued.remaining(now)));
        let (token, generation) = (issued.token().clone(), issued.generation());
        StoredToken::new(token, generation, asked.min(issued.asked()), issued.life())
    }

    /// From here until the reply is read, the token held may be ended without anybody knowing.
    async fn mark(&self, since: UnixMillis) {
        if self.endpoint == TokenEndpoint::Token {
            let _ = self.ask(self.store.mark(&self.appid, since)).await;
        }
    }

    async fn unmark(&self, since: UnixMillis) {
        if self.endpoint == TokenEndpoint::Token {
            let _ = self.ask(self.store.clear_mark(&self.appid, since)).await;
        }
    }

    /// The others would fare no better now. This process may try again sooner, at its own pace; if it does not, they may.
    async fn hold_back(&self, span: Duration) {
        let _ = self.ask(self.store.lease(&self.appid, &self.holder, span)).await;
    }

    async fn give_back(&self) {
        // A lease that cannot be given back ends by itself.
        let _ = self.ask(self.store.release(&self.appid, &self.holder)).await;
    }
}
