//! What must hold at the end of a run, checked against what the observer noted.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use wxsub_core::clock::Clock;
use wxsub_core::proto::AppId;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::message::{StoredEvent, StoredMessage};
use wxsub_outbox::state::{Decision, EventKind, GrantState, MessageState, Reason};
use wxsub_outbox::{Ledger, MemoryLedger};

use super::oracle::{Oracle, Post};
use super::plan::Plan;
use super::scenario::Scenario;

/// The processes have stopped for some time.
pub(super) fn check(scenario: &Scenario) {
    let Scenario { plan, ledger, appid, oracle, .. } = scenario;
    let now = scenario.ledger_clock.now().wall;
    let stopped_for = scenario.true_clock.elapsed().saturating_sub(plan.end);
    let messages = ledger.messages(&MessageQuery::new(appid.clone())).now_or_never().unwrap().unwrap();
    let (posts, acknowledged) = {
        let noted = oracle.noted();
        (noted.posts.clone(), noted.acknowledged.clone())
    };
    for (number, id) in &acknowledged {
        if !messages.iter().any(|message| message.id == *id) {
            oracle.violation(&format!("message {number} was acknowledged, and is lost"));
        }
    }
    for message in &messages {
        // One that was recorded while the ledger's clock was ahead waits until that time has come: after the last poll, perhaps.
        let since_last_poll = stopped_for + Duration::from_secs(10);
        let waits = message.state == MessageState::Queued && message.due_at + since_last_poll > now;
        if !message.state.is_final() && !waits {
            oracle.violation(&format!("message {} is {} at the end", message.id, message.state));
        }
        let history = ledger.history(message.id).now_or_never().unwrap().unwrap();
        check_history(message, &history, oracle);
        count(message, &history, oracle);
    }
    check_posts(&messages, &posts, oracle);
    check_grants(ledger, appid, &messages, &posts, oracle);
    check_counts(ledger, appid, &messages, oracle);
    check_quota(plan, &posts, oracle);
    oracle.noted().summary.posts = posts.len();
}

/// The number in a message's text: its key says it, or that of the message in whose place it was sent.
fn number(message: &StoredMessage, all: &[StoredMessage]) -> Option<u32> {
    match (&message.idempotency_key, message.parent_id) {
        (Some(key), _) => match key.as_str().strip_prefix("order-") {
            Some(number) => number.parse().ok(),
            // A row of the inbox.
            None => Some(message.id.as_bytes().last_chunk().map(|bytes| u32::from_be_bytes(*bytes))?),
        },
        (None, Some(parent)) => number(all.iter().find(|message| message.id == parent)?, all),
        (None, None) => None,
    }
}

/// An outcome and a decision are written once, late responses aside; the versions have no gaps.
fn check_history(message: &StoredMessage, history: &[StoredEvent], oracle: &Oracle) {
    let violation = |text: &str| oracle.violation(&format!("message {}: {text}: {history:?}", message.id));
    if history.iter().zip(1..).any(|(event, version)| event.version != version) {
        violation("its versions have gaps");
    }
    let decided = history.iter().position(|event| event.kind == EventKind::Decided);
    let after = decided.map_or(&[][..], |at| &history[at + 1..]);
    if after.iter().any(|event| event.kind != EventKind::LateAnswer) {
        violation("something changed after its decision");
    }
    let certain =
        [EventKind::Sent, EventKind::Refused, EventKind::NotSent, EventKind::Cancelled, EventKind::Expired];
    let ended = history.iter().position(|event| certain.contains(&event.kind));
    if ended.is_some_and(|at| at + 1 != history.len()) {
        violation("something changed after its end");
    }
    let unknown = [EventKind::MaybeSent, EventKind::Reclaimed];
    let doubted = history.iter().position(|event| unknown.contains(&event.kind));
    let later = doubted.map_or(&[][..], |at| &history[at + 1..]);
    if later.iter().any(|event| [EventKind::Claimed, EventKind::Requeued].contains(&event.kind)) {
        violation("it was tried again though its outcome was unknown");
    }
}

fn is_sent_again(message: &StoredMessage) -> bool {
    message.decision.as_ref().is_some_and(|decided| decided.decision == Decision::SendAgain)
}

fn count(message: &StoredMessage, history: &[StoredEvent], oracle: &Oracle) {
    let mut noted = oracle.noted();
    let summary = &mut noted.summary;
    *summary.states.entry(message.state).or_default() += 1;
    summary.sent_again += usize::from(is_sent_again(message));
    summary.reclaimed += history.iter().filter(|event| event.kind == EventKind::Reclaimed).count();
    let doubted =
        history.iter().any(|event| matches!(event.kind, EventKind::MaybeSent | EventKind::Reclaimed));
    let late = history.iter().any(|event| event.kind == EventKind::LateAnswer)
        || (doubted && message.state != MessageState::MaybeSent);
    summary.late_responses += usize::from(late);
}

/// What is recorded of a message agrees with what became of its POSTs.
fn check_posts(messages: &[StoredMessage], posts: &[Post], oracle: &Oracle) {
    let mut by_number: BTreeMap<u32, Vec<&StoredMessage>> = BTreeMap::new();
    for message in messages {
        match number(message, messages) {
            Some(number) => by_number.entry(number).or_default().push(message),
            None => oracle.violation(&format!("message {} was never enqueued", message.id)),
        }
    }
    for post in posts.iter().filter(|post| !by_number.contains_key(&post.number)) {
        oracle.violation(&format!("message {} was posted, and is not in the ledger", post.number));
    }
    for (number, rows) in by_number {
        let posts: Vec<_> = posts.iter().filter(|post| post.number == number).collect();
        let unproven = posts.iter().filter(|post| !post.is_proven_not_sent()).count();
        let accepted = posts.iter().filter(|post| post.handled == Some(0)).count();
        let refused = posts.iter().filter(|post| post.handled.is_some_and(|code| code != 0)).count();
        let in_state = |state| rows.iter().filter(|row| row.state == state).count();
        let (sent, maybe_sent) = (in_state(MessageState::Sent), in_state(MessageState::MaybeSent));
        let again = rows.iter().filter(|row| is_sent_again(row));
        let facts = || {
            format!("message {number}: {posts:?}, {:?}", rows.iter().map(|row| row.state).collect::<Vec<_>>())
        };
        if unproven > 1 + again.count() {
            oracle.violation(&format!("more than one POST may have been accepted; {}", facts()));
        }
        if sent > accepted {
            oracle.violation(&format!("it counts as sent, and was not; {}", facts()));
        }
        if in_state(MessageState::Refused) > refused {
            oracle.violation(&format!("it counts as refused, and was not; {}", facts()));
        }
        if unproven > sent + maybe_sent {
            oracle.violation(&format!("it may have been sent, and counts as not sent; {}", facts()));
        }
    }
}

/// At most one message of a grant may have been sent, and at most one grant of a user is open.
fn check_grants(
    ledger: &MemoryLedger,
    appid: &AppId,
    messages: &[StoredMessage],
    posts: &[Post],
    oracle: &Oracle,
) {
    let mut users: BTreeMap<_, Vec<&StoredMessage>> = BTreeMap::new();
    for message in messages {
        users.entry(message.touser.as_ref().unwrap()).or_default().push(message);
        // A row of the inbox is a message also if no grant allows it.
        let is_allowed = !matches!(message.reason, Some(Reason::GrantUnavailable | Reason::NoGrant));
        if message.grant.is_none() && is_allowed {
            oracle.violation(&format!("message {} has no grant, and the app requires one", message.id));
        }
    }
    for (openid, rows) in users {
        let grants = ledger.grants(appid, openid).now_or_never().unwrap().unwrap();
        if grants.iter().filter(|grant| grant.state == GrantState::Open).count() > 1 {
            oracle.violation(&format!("{openid} has several open grants: {grants:?}"));
        }
        for grant in &grants {
            let holding = rows.iter().filter(|row| row.grant == Some(grant.id) && row.holds_grant()).count();
            let in_use = matches!(grant.state, GrantState::Reserved | GrantState::Attempting);
            if holding > 1 || (in_use && holding == 0) {
                oracle.violation(&format!(
                    "grant {} is {}, and {holding} messages hold it",
                    grant.id, grant.state
                ));
            }
        }
        let sent_again = rows.iter().filter(|row| is_sent_again(row));
        let numbers: Vec<_> = rows.iter().filter_map(|row| number(row, messages)).collect();
        let of_user =
            posts.iter().filter(|post| numbers.contains(&post.number) && !post.is_proven_not_sent());
        if of_user.count() > grants.len() + sent_again.count() {
            oracle.violation(&format!(
                "{openid} has {} grants, and more messages may have been sent",
                grants.len()
            ));
        }
    }
}

fn check_counts(ledger: &MemoryLedger, appid: &AppId, messages: &[StoredMessage], oracle: &Oracle) {
    let app = ledger.app(appid).now_or_never().unwrap().unwrap();
    let mut recount = BTreeMap::new();
    messages.iter().for_each(|message| *recount.entry(message.state).or_insert(0) += 1);
    let undecided = messages.iter().filter(|message| message.is_undecided()).count();
    if app.counts != recount || app.undecided != u64::try_from(undecided).unwrap() {
        oracle.violation(&format!("the counts are {app:?}, a recount gives {recount:?}"));
    }
}

/// While the limit of the day is exceeded, only probes are posted: one an hour, and those that were under way.
fn check_quota(plan: &Plan, posts: &[Post], oracle: &Oracle) {
    let refused = posts.iter().filter(|post| post.handled == Some(45009)).count();
    if refused > 60 {
        let first = posts.iter().find(|post| post.handled == Some(45009)).map(|post| post.at);
        oracle.violation(&format!(
            "{refused} messages were posted against 45009 from {first:?} until {:?}",
            plan.calm_from
        ));
    }
}
