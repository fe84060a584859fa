//! What the witness and the endpoint saw, compared with the ledger and with what the servers responded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::state::MessageState;

use super::super::database;
use super::super::orders::appid;
use super::super::verdict::{Posts, Verdict};
use super::clients::{ClientResponse, Outcome, has_rival};
use super::process::Servers;
use super::receiver::{Arrivals, Receiver};

pub(super) struct ServersVerdict {
    pub(super) ledger: Verdict,
    /// Orders about which a server said what is not true.
    pub(super) false_responses: BTreeSet<u32>,
    /// What is wrong with webhooks.
    pub(super) webhooks: Vec<String>,
    summary: String,
}

impl ServersVerdict {
    pub(super) async fn find(
        servers: &Servers,
        journal: &[u8],
        responses: &[ClientResponse],
        receiver: &Receiver,
    ) -> Self {
        let recorded = responses.iter().filter(|one| one.outcome != Outcome::NoGrant).map(|one| one.order);
        let ledger = Verdict::find(&servers.ledger(), journal, &recorded.collect(), |_| false).await;
        let arrivals = receiver.arrivals();
        let mut counts = BTreeMap::<_, usize>::new();
        responses.iter().for_each(|one| *counts.entry(one.outcome).or_default() += 1);
        let summary = format!(
            "{servers}\nresponses: {counts:?}\nwebhooks: {} requests about {} messages",
            arrivals.requests,
            arrivals.events.len()
        );
        let (messages, _) = database::check(&servers.ledger()).await;
        let messages = messages.messages(&MessageQuery::new(appid())).await.unwrap();
        let states = messages.iter().map(|message| (message.id.to_string(), message.state)).collect();
        let false_responses = false_responses(responses, &Posts::by_order(journal), &states);
        let webhooks = judge_webhooks(&states, &arrivals, servers.undelivered().await);
        Self { ledger, false_responses, webhooks, summary }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.ledger.is_clean() && self.false_responses.is_empty() && self.webhooks.is_empty()
    }
}

/// The messages of the ledger, by their ids.
type States = BTreeMap<String, MessageState>;

fn false_responses(
    responses: &[ClientResponse],
    posts: &BTreeMap<u32, Posts>,
    states: &States,
) -> BTreeSet<u32> {
    let mut by_key: BTreeMap<(u32, &str), Vec<&ClientResponse>> = BTreeMap::new();
    responses.iter().for_each(|one| by_key.entry((one.order, &one.key)).or_default().push(one));
    let nothing = Posts::default();
    let is_false = |order: u32, responses: &[&ClientResponse]| {
        let posts = posts.get(&order).unwrap_or(&nothing);
        let is_wrong = responses.iter().any(|one| match one.outcome {
            Outcome::Sent => posts.accepted == 0,
            Outcome::Refused => posts.refused == 0,
            // The other message may have been posted.
            Outcome::NoGrant => !has_rival(order) && posts.accepted + posts.refused > 0,
            Outcome::MaybeSent | Outcome::Queued => false,
        }) || responses.iter().any(|one| !is_recorded(one, states));
        let messages: BTreeSet<_> = responses.iter().map(|one| &one.message).collect();
        let said: BTreeSet<_> = responses
            .iter()
            .map(|one| one.outcome)
            .filter(|outcome| *outcome != Outcome::MaybeSent)
            .collect();
        // One key is one message, and it ends once. A response that was late can show what became of it.
        is_wrong || said.len() > 1 || messages.len() > 1
    };
    by_key
        .iter()
        .filter(|((order, _), responses)| is_false(*order, responses))
        .map(|((order, _), _)| *order)
        .collect()
}

/// Whether the message of a response is in the ledger, and ended as the response says.
fn is_recorded(response: &ClientResponse, states: &States) -> bool {
    let Some(id) = &response.message else { return response.outcome == Outcome::NoGrant };
    match response.outcome {
        Outcome::Sent => states.get(id) == Some(&MessageState::Sent),
        Outcome::Refused => states.get(id) == Some(&MessageState::Refused),
        Outcome::MaybeSent | Outcome::Queued | Outcome::NoGrant => states.contains_key(id),
    }
}

/// Each event of a message has one webhook with one id, and the last one says how the message ended.
fn judge_webhooks(states: &States, arrivals: &Arrivals, undelivered: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    if arrivals.unverified > 0 {
        wrong.push(format!("signatures that are wrong: {}", arrivals.unverified));
    }
    if undelivered > 0 {
        wrong.push(format!("not delivered: {undelivered}"));
    }
    for (message, events) in &arrivals.events {
        for (sequence, event) in events {
            if event.ids.len() != 1 || event.bodies.len() != 1 {
                let (ids, bodies) = (&event.ids, event.bodies.len());
                wrong.push(format!("event {sequence} of {message}: ids {ids:?}, {bodies} bodies"));
            }
        }
    }
    for (message, state) in states {
        let last = arrivals.events.get(message).and_then(|events| events.last_key_value());
        let said = last.map(|(_, event)| event.outcome.as_str());
        if said != Some(state.as_str()) {
            wrong.push(format!("message {message} is {state}, and its last webhook says {said:?}"));
        }
    }
    wrong
}

impl fmt::Display for ServersVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.summary, self.ledger)?;
        write!(f, "false responses {}, webhooks wrong {}", self.false_responses.len(), self.webhooks.len())?;
        if !self.false_responses.is_empty() || !self.webhooks.is_empty() {
            let some: Vec<_> = self.webhooks.iter().take(20).collect();
            write!(f, "\nfalse responses {:?}, webhooks {some:#?}", self.false_responses)?;
        }
        Ok(())
    }
}
