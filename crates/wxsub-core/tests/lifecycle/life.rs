//! Drives a refresh state event by event.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::{ClockReading, MonotonicInstant, UnixMillis};
use wxsub_core::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome, FetchRequest, Generation, RefreshState,
    TokenEndpoint, TokenErrorKind, TokenEvent, TokenStatus,
};
use wxsub_core::transport::{TransportError, TransportErrorKind};

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn not_sent() -> FetchOutcome {
    FetchOutcome::Failed(TokenErrorKind::Transport(TransportError::before_sending(
        TransportErrorKind::Connect,
        "",
    )))
}

pub fn lost() -> FetchOutcome {
    FetchOutcome::Failed(TokenErrorKind::TimedOut)
}

pub struct Life {
    pub lifecycle: RefreshState,
    pub now: ClockReading,
}

impl Life {
    pub fn new(endpoint: TokenEndpoint) -> Self {
        let now = ClockReading::new(
            MonotonicInstant::from_origin(seconds(5_000)),
            UnixMillis::new(1_780_000_000_000),
        );
        Self { lifecycle: RefreshState::new(endpoint.behavior(), 7), now }
    }

    pub fn holding() -> Self {
        Self::holding_of(TokenEndpoint::Token)
    }

    /// With a token of two hours that was fetched now.
    pub fn holding_of(endpoint: TokenEndpoint) -> Self {
        let mut life = Self::new(endpoint);
        let order = life.wanted();
        let issued = life.token("A", &order);
        life.finish(&order, FetchOutcome::Issued(issued));
        life
    }

    pub fn token(&self, text: &str, order: &FetchRequest) -> Arc<CachedToken> {
        let generation = order.known.next(self.now.wall);
        Arc::new(CachedToken::new(text.parse().unwrap(), generation, self.now, seconds(7200)))
    }

    pub fn tell(&mut self, event: Event) -> Vec<Action> {
        self.lifecycle.handle_event(self.now, event)
    }

    pub fn wanted(&mut self) -> FetchRequest {
        fetch(self.tell(Event::TokenRequested))
    }

    pub fn finish(&mut self, order: &FetchRequest, outcome: FetchOutcome) -> Vec<Action> {
        self.tell(Event::FetchFinished { attempt: order.attempt, outcome })
    }

    /// Reports a token of long ago.
    pub fn report_old(&mut self) -> Vec<Action> {
        self.tell(Event::InvalidTokenReported {
            generation: Generation::new(1),
            evidence: Evidence::Observed,
        })
    }

    pub fn report(&mut self, evidence: Evidence) -> Vec<Action> {
        self.tell(Event::InvalidTokenReported { generation: self.held().generation(), evidence })
    }

    /// The store has the current token.
    pub fn read(&mut self, in_doubt_since: Option<UnixMillis>) {
        self.tell(Event::StoreLoaded { token: self.held(), in_doubt_since });
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub fn status(&self) -> TokenStatus {
        self.lifecycle.status()
    }

    pub fn held(&self) -> Arc<CachedToken> {
        self.status().current.unwrap()
    }

    pub fn due_in(&self) -> Duration {
        self.status().next_attempt_at.unwrap().remaining(self.now)
    }
}

pub fn fetch(commands: Vec<Action>) -> FetchRequest {
    let mut orders = commands.into_iter().filter_map(|command| match command {
        Action::Fetch(order) => Some(order),
        Action::ResolveReport(_) | Action::Emit(_) => None,
    });
    orders.next().unwrap()
}

pub fn notices(commands: Vec<Action>) -> Vec<TokenEvent> {
    let events = commands.into_iter().filter_map(|command| match command {
        Action::Emit(notice) => Some(notice),
        Action::ResolveReport(_) | Action::Fetch(_) => None,
    });
    events.collect()
}

/// A token of a peer, whose generation is higher by this.
pub fn stored(life: &Life, ahead: u64) -> CachedToken {
    let generation = Generation::new(life.held().generation().get() + ahead);
    CachedToken::new("STORED".parse().unwrap(), generation, life.now, seconds(7200))
}
