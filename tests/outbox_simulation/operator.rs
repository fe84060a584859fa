//! An operator who pauses, resumes, cancels and decides; and the ledger's clock, which is set.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use wxsub_outbox::Ledger;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Applied, Change, MessageQuery, NewDecision};
use wxsub_outbox::state::{Decision, MessageState};

use super::scenario::Scenario;

pub(super) struct Operator {
    pub(super) scenario: Arc<Scenario>,
    pub(super) rng: Rng,
}

impl Operator {
    pub(super) async fn act(mut self) {
        while self.scenario.true_clock.elapsed() < self.scenario.plan.calm_from {
            self.scenario.true_clock.sleep(Duration::from_secs(self.rng.u64(30..900))).await;
            match self.rng.u8(0..8) {
                0 => self.pause(),
                1 => self.cancel(),
                _ => self.decide(),
            }
        }
        self.apply(Change::Resume(self.scenario.appid.clone()));
    }

    fn apply(&self, change: Change) -> Applied {
        self.scenario.ledger.commit(vec![change]).now_or_never().unwrap().unwrap().remove(0).unwrap()
    }

    fn some(&mut self, query: &MessageQuery) -> Option<MessageId> {
        let found = self.scenario.ledger.messages(query).now_or_never().unwrap().unwrap();
        let at = self.rng.usize(0..found.len().max(1));
        found.get(at).map(|message| message.id)
    }

    fn pause(&mut self) {
        let change = match self.rng.bool() {
            true => Change::Pause {
                appid: self.scenario.appid.clone(),
                by: "ops".to_owned(),
                note: String::new(),
            },
            false => Change::Resume(self.scenario.appid.clone()),
        };
        self.scenario.oracle.trace(|| format!("operator: {change:?}"));
        self.apply(change);
    }

    fn cancel(&mut self) {
        let query = MessageQuery {
            state: Some(MessageState::Queued),
            ..MessageQuery::new(self.scenario.appid.clone())
        };
        if let Some(message) = self.some(&query) {
            self.scenario.oracle.trace(|| format!("operator cancels {message}"));
            self.apply(Change::Cancel { message, by: "ops".to_owned() });
        }
    }

    fn decide(&mut self) {
        let query = MessageQuery { undecided: true, ..MessageQuery::new(self.scenario.appid.clone()) };
        if let Some(message) = self.some(&query) {
            let decision = Decision::ALL[self.rng.usize(0..Decision::ALL.len())];
            let child = MessageId::from_bytes(self.rng.u128(..).to_be_bytes());
            let (by, note) = ("ops".to_owned(), String::new());
            let decision_on = NewDecision { message, decision, by, note, seen: None, child };
            let decided = self.apply(Change::Decide(Box::new(decision_on)));
            self.scenario.oracle.trace(|| format!("operator decides {message}: {decision}: {decided:?}"));
        }
    }
}

/// The clock of the ledger is set now and then.
pub(super) async fn set_ledger_clock(scenario: Arc<Scenario>) {
    for (at, seconds) in &scenario.plan.ledger_clock {
        scenario.ledger_clock.wait_until(*at).await;
        scenario.oracle.trace(|| format!("the ledger's clock is set by {seconds} s"));
        scenario.ledger_clock.set(*seconds);
    }
}
