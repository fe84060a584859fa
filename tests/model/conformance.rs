//! Holds the model's server against the lifecycle it is a model of: every short run of what it can hear, by both.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::{ClockReading, MonotonicInstant, UnixMillis};
use wxsub_core::proto::AccessToken;
use wxsub_core::token::{
    Action, CachedToken, Event, Evidence, FetchOutcome as Real, FetchRequest, Generation, RefreshState,
    TokenEndpoint, TokenErrorKind,
};
use wxsub_core::transport::{TransportError, TransportErrorKind};

use super::rules::Rules;
use super::state::{Attempt, Outcome, Server, Stage, Token};

/// How much a run hears.
const LENGTH: usize = if cfg!(debug_assertions) { 4 } else { 5 };

/// Due sooner than this is at once; the planned refresh of a token is later.
const SOON: Duration = Duration::from_secs(600);

/// In the model's time, after everything that was asked.
const NOW: u8 = 50;

#[derive(Debug, Clone, Copy)]
enum Heard {
    Wanted,
    /// The time for an attempt has come.
    Due,
    Finished(Outcome),
    /// The store was read, and bears a mark or not.
    Loaded(Token, bool),
    /// The store was given the token held, and had this generation before.
    Published(u8),
    Rejected,
}

/// Plays all runs. Gives how many.
pub(crate) fn compare(rules: &Rules) -> usize {
    let starts = [Heard::Wanted, Heard::Loaded(stored(1), false)];
    starts.into_iter().map(|start| compare_from(&mut vec![start], rules)).sum()
}

fn compare_from(run: &mut Vec<Heard>, rules: &Rules) -> usize {
    let mut pair = Pair::new();
    run.iter().for_each(|heard| pair.hear(*heard, rules));
    pair.agrees(run);
    let mut runs = 1;
    if run.len() <= LENGTH {
        for heard in pair.can_hear() {
            run.push(heard);
            runs += compare_from(run, rules);
            run.pop();
        }
    }
    runs
}

/// What a server has fetched itself, and what it finds.
fn fetched(generation: u8) -> Token {
    Token { id: 10 + generation, ..stored(generation) }
}

fn stored(generation: u8) -> Token {
    Token { id: generation, generation, asked: generation }
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
        let real = RefreshState::new(TokenEndpoint::Token, 1);
        Self { model: Server::default(), real, order: None, now }
    }

    fn can_hear(&self) -> Vec<Heard> {
        let Server { held, due, watches, attempt, .. } = self.model;
        let mut all: Vec<_> = (1..=4).map(stored).map(|token| Heard::Loaded(token, false)).collect();
        if held.id != 0 {
            all.extend(
                [1, 2, 3].into_iter().filter(|before| *before < held.generation).map(Heard::Published),
            );
            all.push(Heard::Rejected);
        }
        if attempt.stage == Stage::None {
            all.extend(due.then_some(Heard::Due));
            let can_look_after = held == stored(held.generation) && (watches || !due);
            all.extend(can_look_after.then_some(Heard::Loaded(held, true)));
            return all;
        }
        let mut outcomes = vec![Outcome::Elsewhere, Outcome::Refused, Outcome::Lost];
        for generation in attempt.known + 1..=4 {
            outcomes.push(Outcome::Issued(fetched(generation)));
            outcomes.push(Outcome::IssuedAlone(fetched(generation)));
            for (marked, raced) in [(false, false), (true, false), (false, true)] {
                outcomes.push(Outcome::Adopted { token: stored(generation), marked, raced });
            }
        }
        all.extend(outcomes.into_iter().map(Heard::Finished));
        all
    }

    fn hear(&mut self, heard: Heard, rules: &Rules) {
        self.tell_model(heard, rules);
        let event = match heard {
            Heard::Wanted => Event::TokenRequested,
            Heard::Due => {
                self.now = self.now.after(self.real.status().next_attempt_at.unwrap().remaining(self.now));
                Event::Timer
            }
            Heard::Finished(outcome) => {
                let attempt = self.order.take().unwrap().attempt;
                Event::FetchFinished { attempt, outcome: self.outcome(outcome) }
            }
            Heard::Loaded(token, marked) => {
                let lost_since = marked.then_some(self.now.wall);
                Event::StoreLoaded { issued: self.issued(token), lost_since }
            }
            Heard::Published(replaced) => {
                let generation = self.real.status().held.unwrap().generation();
                Event::StorePublished { generation, replaced: number(replaced) }
            }
            Heard::Rejected => {
                let generation = self.real.status().held.unwrap().generation();
                Event::InvalidTokenReported { generation, evidence: Evidence::Observed }
            }
        };
        for command in self.real.handle_event(self.now, event) {
            if let Action::Fetch(order) = command {
                self.order = Some(order);
            }
        }
    }

    fn tell_model(&mut self, heard: Heard, rules: &Rules) {
        let model = &mut self.model;
        match heard {
            Heard::Wanted => model.due = true,
            Heard::Due => {}
            Heard::Finished(outcome) => model.finished(outcome, NOW, rules),
            Heard::Loaded(token, marked) => {
                model.loaded(token, marked, rules);
                if marked && model.attempt.stage == Stage::None {
                    model.looks_after();
                }
            }
            Heard::Published(replaced) => model.published(replaced, rules),
            Heard::Rejected => model.sees_rejection(),
        }
        let starts = matches!(heard, Heard::Wanted | Heard::Due | Heard::Rejected);
        if starts && model.attempt.stage == Stage::None {
            model.due = false;
            model.attempt = Attempt { stage: Stage::Load, known: model.known, ..Attempt::default() };
        }
    }

    fn agrees(&self, run: &[Heard]) {
        let (model, status) = (&self.model, self.real.status());
        let held = status.held.map(|held| (held.token().expose_secret().to_owned(), held.generation()));
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
            Outcome::IssuedAlone(token) => Real::IssuedWithoutLease(self.issued(token)),
            Outcome::Adopted { token, marked, raced } => {
                let lost_since = marked.then_some(self.now.wall);
                Real::Adopted { issued: self.issued(token), lost_since, lost_race: raced }
            }
            Outcome::Elsewhere => Real::LeaseHeldByPeer,
            Outcome::Refused => {
                let refused = TransportError::before_sending(TransportErrorKind::Connect, "nobody listens");
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
            wall(token.asked),
            life,
            self.now,
        ))
    }
}

fn text(token: Token) -> String {
    format!("TOKEN-{}", token.id)
}

fn number(generation: u8) -> Generation {
    Generation::new(if generation == 0 { 0 } else { wall(generation).get() })
}

fn wall(time: u8) -> UnixMillis {
    UnixMillis::new(1_800_000_000_000).after(Duration::from_secs(time.into()))
}
