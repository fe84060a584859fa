//! An operator who pauses, resumes, cancels and decides; and the ledger's clock, which is set.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use wxsub_core::proto::AppId;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Applied, Change, MessageQuery, NewDecision};
use wxsub_outbox::state::{Decision, MessageState};
use wxsub_outbox::{Ledger, MemoryLedger};

use super::node_clock::NodeClock;
use super::oracle::Oracle;
use super::plan::Plan;

pub(super) struct Operator {
    pub(super) appid: AppId,
    pub(super) plan: Arc<Plan>,
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) clock: Arc<NodeClock>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) dice: Rng,
}

impl Operator {
    pub(super) async fn act(mut self) {
        while self.clock.elapsed() < self.plan.calm_from {
            self.clock.sleep(Duration::from_secs(self.dice.u64(30..900))).await;
            match self.dice.u8(0..8) {
                0 => self.pause(),
                1 => self.cancel(),
                _ => self.decide(),
            }
        }
        self.apply(Change::Resume(self.appid.clone()));
    }

    fn apply(&self, change: Change) -> Applied {
        self.ledger.commit(vec![change]).now_or_never().unwrap().unwrap().remove(0).unwrap()
    }

    fn some(&mut self, query: &MessageQuery) -> Option<MessageId> {
        let found = self.ledger.messages(query).now_or_never().unwrap().unwrap();
        let at = self.dice.usize(0..found.len().max(1));
        found.get(at).map(|message| message.id)
    }

    fn pause(&mut self) {
        let change = match self.dice.bool() {
            true => Change::Pause { appid: self.appid.clone(), by: "ops".to_owned(), note: String::new() },
            false => Change::Resume(self.appid.clone()),
        };
        self.oracle.trace(|| format!("operator: {change:?}"));
        self.apply(change);
    }

    fn cancel(&mut self) {
        let query =
            MessageQuery { state: Some(MessageState::Queued), ..MessageQuery::new(self.appid.clone()) };
        if let Some(message) = self.some(&query) {
            self.oracle.trace(|| format!("operator cancels {message}"));
            self.apply(Change::Cancel { message, by: "ops".to_owned() });
        }
    }

    fn decide(&mut self) {
        let query = MessageQuery { undecided: true, ..MessageQuery::new(self.appid.clone()) };
        if let Some(message) = self.some(&query) {
            let decision = Decision::ALL[self.dice.usize(0..Decision::ALL.len())];
            let child = MessageId::from_bytes(self.dice.u128(..).to_be_bytes());
            let (by, note) = ("ops".to_owned(), String::new());
            let decided = self.apply(Change::Decide(Box::new(NewDecision {
                message,
                decision,
                by,
                note,
                seen: None,
                child,
            })));
            self.oracle.trace(|| format!("operator decides {message}: {decision}: {decided:?}"));
        }
    }
}

/// The clock of the ledger is set now and then.
pub(super) async fn set_ledger_clock(plan: Arc<Plan>, clock: Arc<NodeClock>, oracle: Arc<Oracle>) {
    for (at, seconds) in &plan.ledger_clock {
        clock.wait_until(*at).await;
        oracle.trace(|| format!("the ledger's clock is set by {seconds} s"));
        clock.set(*seconds);
    }
}
