//! Conformance of the model with wxsub-core: both get every short run of events, and must agree.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::{ClockReading, MonotonicInstant, UnixMillis};
use wxsub_core::proto::AccessToken;
use wxsub_core::store::{StoreError, StoreErrorKind};
use wxsub_core::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome as Real, FetchRequest, Generation, RefreshState,
    TokenEndpoint, TokenErrorKind,
};
use wxsub_core::transport::{TransportError, TransportErrorKind};

use super::rules::Rules;
use super::state::{Attempt, Outcome, Server, Stage, Token};

/// The number of events of a run after the first.
const LENGTH: usize = 5;

/// An attempt that is due sooner counts as due now. The planned refresh of a token is later.
const SOON: Duration = Duration::from_secs(600);

/// The current time of the model, after all requests.
const NOW: u8 = 50;

#[derive(Debug, Clone, Copy)]
enum ModelEvent {
    Wanted,
    /// The next attempt is due.
    Due,
    Finished(Outcome),
    /// The store was read, with or without a marker.
    Loaded(Token, bool),
    /// The current token was published. The store had this generation before.
    Published(u8),
    Rejected,
}

/// Compares all runs. Returns their number.
pub(crate) fn compare(rules: &Rules) -> usize {
    let starts = [ModelEvent::Wanted, ModelEvent::Loaded(stored(1), false)];
    starts.into_iter().map(|start| compare_from(&mut vec![start], rules)).sum()
}

fn compare_from(run: &mut Vec<ModelEvent>, rules: &Rules) -> usize {
    let mut pair = Pair::new();
    run.iter().for_each(|event| pair.apply(*event, rules));
    pair.assert_same_state(run);
    let mut runs = 1;
    if run.len() <= LENGTH {
        for event in pair.possible_events() {
            run.push(event);
            runs += compare_from(run, rules);
            run.pop();
        }
    }
    runs
}

/// A token that the server fetched itself.
fn fetched(generation: u8) -> Token {
    Token { id: 10 + generation, ..stored(generation) }
}

/// A token that the server finds in the store.
fn stored(generation: u8) -> Token {
    Token { id: generation, generation, requested_at: generation }
}

struct Pair {
    model: Server,
    real: RefreshState,
    order: Option<FetchRequest>,
    now: ClockReading,
}

impl Pair {
    fn new() -> Self {
        let now = ClockReading::new(MonotonicInstant::from_origin(Duration::from_secs(3600)), wall(NOW));
        let real = RefreshState::new(TokenEndpoint::Token.behavior(), 1);
        Self { model: Server::default(), real, order: None, now }
    }

    fn possible_events(&self) -> Vec<ModelEvent> {
        let Server { held, due, awaits_peer, attempt, .. } = self.model;
        let mut all: Vec<_> = (1..=4).map(stored).map(|token| ModelEvent::Loaded(token, false)).collect();
        if held.id != 0 {
            all.extend(
                [1, 2, 3].into_iter().filter(|before| *before < held.generation).map(ModelEvent::Published),
            );
            all.push(ModelEvent::Rejected);
        }
        if attempt.stage == Stage::None {
            all.extend(due.then_some(ModelEvent::Due));
            let can_look_after = held == stored(held.generation) && (awaits_peer || !due);
            all.extend(can_look_after.then_some(ModelEvent::Loaded(held, true)));
            return all;
        }
        let mut outcomes = vec![Outcome::LeaseHeldByPeer, Outcome::Refused, Outcome::Lost];
        for generation in attempt.known + 1..=4 {
            outcomes.push(Outcome::Issued(fetched(generation)));
            outcomes.push(Outcome::IssuedWithoutLease(fetched(generation)));
            for (in_doubt, lost_race) in [(false, false), (true, false), (false, true)] {
                outcomes.push(Outcome::Adopted { token: stored(generation), in_doubt, lost_race });
            }
        }
        all.extend(outcomes.into_iter().map(ModelEvent::Finished));
        all
    }

    fn apply(&mut self, event: ModelEvent, rules: &Rules) {
        self.apply_to_model(event, rules);
        let event = match event {
            ModelEvent::Wanted => Event::TokenRequested,
            ModelEvent::Due => {
                self.now = self.now + self.real.status().next_attempt_at.unwrap().remaining(self.now);
                Event::Timer
            }
            ModelEvent::Finished(outcome) => {
                let attempt = self.order.take().unwrap().attempt;
                Event::FetchFinished { attempt, outcome: self.outcome(outcome) }
            }
            ModelEvent::Loaded(token, in_doubt) => {
                let in_doubt_since = in_doubt.then_some(self.now.wall);
                Event::StoreLoaded { token: self.issued(token), in_doubt_since, other_endpoint: None }
            }
            ModelEvent::Published(replaced) => {
                let generation = self.real.status().current.unwrap().generation();
                Event::StorePublished { generation, replaced: number(replaced) }
            }
            ModelEvent::Rejected => {
                let generation = self.real.status().current.unwrap().generation();
                Event::InvalidTokenReported { generation, evidence: Evidence::Observed }
            }
        };
        for command in self.real.handle_event(self.now, event) {
            if let Action::Fetch(order) = command {
                self.order = Some(order);
            }
        }
    }

    fn apply_to_model(&mut self, event: ModelEvent, rules: &Rules) {
        let model = &mut self.model;
        match event {
            ModelEvent::Wanted => model.due = true,
            ModelEvent::Due => {}
            ModelEvent::Finished(outcome) => model.on_finished(outcome, NOW, rules),
            ModelEvent::Loaded(token, in_doubt) => {
                model.on_loaded(token, in_doubt, rules);
                if in_doubt && model.attempt.stage == Stage::None {
                    model.schedule_takeover();
                }
            }
            ModelEvent::Published(replaced) => model.on_published(replaced, rules),
            ModelEvent::Rejected => model.on_rejection(),
        }
        let starts = matches!(event, ModelEvent::Wanted | ModelEvent::Due | ModelEvent::Rejected);
        if starts && model.attempt.stage == Stage::None {
            model.due = false;
            model.attempt = Attempt { stage: Stage::Load, known: model.known, ..Attempt::default() };
        }
    }

    fn assert_same_state(&self, run: &[ModelEvent]) {
        let (model, status) = (&self.model, self.real.status());
        let held = status.current.map(|token| (token.token().expose_secret().to_owned(), token.generation()));
        let holds = (model.held.id != 0).then(|| (text(model.held), number(model.held.generation)));
        assert_eq!(held, holds, "held, after {run:?}");
        assert_eq!(status.fetching, model.attempt.stage != Stage::None, "fetching, after {run:?}");
        let due = status.next_attempt_at.is_some_and(|due| due.remaining(self.now) < SOON);
        assert_eq!(due, model.due, "due, after {run:?}");
        let known = self.order.as_ref().filter(|_| status.fetching).map(|order| order.known);
        let knows = status.fetching.then(|| number(model.attempt.known));
        assert_eq!(known, knows, "known, after {run:?}");
    }

    fn outcome(&self, outcome: Outcome) -> Real {
        match outcome {
            Outcome::Issued(token) => Real::Issued(self.issued(token)),
            Outcome::IssuedWithoutLease(token) => Real::IssuedWithoutLease(self.issued(token), not_stored()),
            Outcome::Adopted { token, in_doubt, lost_race } => {
                let in_doubt_since = in_doubt.then_some(self.now.wall);
                Real::Adopted { token: self.issued(token), in_doubt_since, lost_race }
            }
            Outcome::LeaseHeldByPeer => Real::LeaseHeldByPeer { holder: None },
            Outcome::Refused => {
                let refused =
                    TransportError::before_sending(TransportErrorKind::Connect, "connection refused");
                Real::Failed(TokenErrorKind::Transport(refused))
            }
            Outcome::Lost => Real::Failed(TokenErrorKind::TimedOut),
        }
    }

    fn issued(&self, token: Token) -> Arc<CachedToken> {
        let text = AccessToken::new(text(token)).unwrap();
        let life = Duration::from_secs(7200);
        Arc::new(CachedToken::from_shared_store(
            text,
            number(token.generation),
            wall(token.requested_at),
            life,
            self.now,
        ))
    }
}

fn not_stored() -> StoreError {
    StoreError::new(StoreErrorKind::Unreachable, "no response")
}

fn text(token: Token) -> String {
    format!("TOKEN-{}", token.id)
}

fn number(generation: u8) -> Generation {
    Generation::new(if generation == 0 { 0 } else { wall(generation).get() })
}

fn wall(time: u8) -> UnixMillis {
    UnixMillis::new(1_800_000_000_000) + Duration::from_secs(time.into())
}
