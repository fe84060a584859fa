//! What the witness saw, compared with what the ledger says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::{EventKind, MessageState};
use wxsub_sandbox::JournalRecord;

use super::database;
use super::orders::{ROLLED_BACK, appid, order_of};

/// What went wrong, by order.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) lost: BTreeSet<u32>,
    pub(super) duplicated: BTreeSet<u32>,
    pub(super) stuck: BTreeSet<u32>,
    pub(super) mislabelled: BTreeSet<u32>,
    pub(super) problems: Vec<String>,
    states: BTreeMap<MessageState, usize>,
    posts: usize,
}

/// What the witness knows of an order.
#[derive(Debug, Default)]
pub(super) struct Posts {
    pub(super) accepted: usize,
    /// Not accepted, but not because of the token either.
    pub(super) refused: usize,
    /// Refused for a stale token: it may be posted again.
    stale: usize,
}

impl Posts {
    /// The posts in the journal of the witness.
    pub(super) fn by_order(journal: &[u8]) -> BTreeMap<u32, Self> {
        let mut by_order: BTreeMap<u32, Self> = BTreeMap::new();
        for record in JournalRecord::parse(journal).filter(|record| record.operation == "send") {
            // Half a body has no user: nothing of it took effect.
            let user = record.message.as_ref().and_then(|message| message.touser.as_deref());
            let Some(order) = user.and_then(order_of) else { continue };
            let posts = by_order.entry(order).or_default();
            match record.errcode {
                _ if record.accepted => posts.accepted += 1,
                Some(code) if code.is_stale_token() => posts.stale += 1,
                _ => posts.refused += 1,
            }
        }
        by_order
    }

    fn count(&self) -> usize {
        self.accepted + self.refused + self.stale
    }
}

impl Verdict {
    /// A row of an inbox is one message; another order can be several, of which one may have been sent.
    pub(super) async fn find(
        ledger: &Path,
        journal: &[u8],
        acknowledged: &BTreeSet<u32>,
        is_row: fn(u32) -> bool,
    ) -> Self {
        let (ledger, problems) = database::check(ledger).await;
        let mut posts = Posts::by_order(journal);
        let count = posts.values().map(Posts::count).sum();
        let mut verdict = Self { problems, posts: count, ..Self::default() };
        let messages = ledger.messages(&MessageQuery::new(appid())).await.unwrap();
        let mut by_order: BTreeMap<u32, Vec<&StoredMessage>> = BTreeMap::new();
        for message in &messages {
            *verdict.states.entry(message.state).or_default() += 1;
            by_order
                .entry(order_of(message.touser.as_ref().unwrap().as_str()).unwrap())
                .or_default()
                .push(message);
        }
        let known = by_order.keys().copied().collect::<BTreeSet<_>>();
        verdict.lost.extend(acknowledged.iter().chain(posts.keys()).filter(|order| !known.contains(order)));
        for (order, rows) in by_order {
            if order >= ROLLED_BACK || (is_row(order) && rows.len() > 1) {
                verdict
                    .problems
                    .push(format!("order {order} must not be in the ledger so often: {}", rows.len()));
            }
            let posts = posts.remove(&order).unwrap_or_default();
            verdict.judge(order, &rows, &posts);
            verdict.look_for_attempts(order, &rows, &posts, &*ledger).await;
        }
        verdict
    }

    fn judge(&mut self, order: u32, rows: &[&StoredMessage], posts: &Posts) {
        let in_state = |state| rows.iter().filter(|row| row.state == state).count();
        let (sent, undecided) = (in_state(MessageState::Sent), in_state(MessageState::MaybeSent));
        if posts.accepted + posts.refused > 1 {
            self.duplicated.insert(order);
        }
        if rows.iter().any(|row| !row.state.is_final()) {
            self.stuck.insert(order);
        }
        let unproven = posts.accepted.saturating_sub(sent + undecided) > 0;
        if sent > posts.accepted || in_state(MessageState::Refused) > posts.refused || unproven {
            self.mislabelled.insert(order);
        }
    }

    /// Every POST has an attempt that was recorded before.
    async fn look_for_attempts(
        &mut self,
        order: u32,
        rows: &[&StoredMessage],
        posts: &Posts,
        ledger: &dyn Ledger,
    ) {
        let mut attempts = 0;
        for row in rows {
            let history = ledger.history(row.id).await.unwrap();
            let begins = |kind| matches!(kind, EventKind::Claimed | EventKind::Begun);
            attempts += history.iter().filter(|event| begins(event.kind)).count();
        }
        if posts.accepted + posts.refused > attempts {
            self.problems.push(format!("order {order} was posted without an attempt"));
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        let sets = [&self.lost, &self.duplicated, &self.stuck, &self.mislabelled];
        sets.iter().all(|set| set.is_empty()) && self.problems.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<_> = self.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        writeln!(f, "posts {}, messages: {}", self.posts, states.join(", "))?;
        write!(
            f,
            "lost {}, duplicated {}, stuck {}, mislabelled {}",
            self.lost.len(),
            self.duplicated.len(),
            self.stuck.len(),
            self.mislabelled.len()
        )?;
        if !self.is_clean() {
            write!(
                f,
                "\nlost {:?}, duplicated {:?}, stuck {:?}, mislabelled {:?}, {:?}",
                self.lost, self.duplicated, self.stuck, self.mislabelled, self.problems
            )?;
        }
        Ok(())
    }
}
