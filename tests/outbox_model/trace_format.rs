//! A way through the model in words.

use super::search::Violation;
use super::state::{Ledger, Stage, State};
use super::step::{Act, Fault, Step, Wish};

pub(crate) fn trace(start: &State, violation: &Violation) -> String {
    let Ledger { messages, grants, .. } = violation.path.last().map_or(start, |(_, state)| state).ledger;
    let end = format!("  messages {messages:?}\n  grants {grants:?}\n");
    violation.trace(start, |_, step, after| sentence(step, after)) + &end
}

fn sentence(step: Step, after: &State) -> String {
    let (worker, message) = (["A", "B"][step.worker], step.message);
    let stage = after.workers[step.worker].task.map(|task| task.stage);
    match step.act {
        Act::Claim => format!("{worker} claims message {message}"),
        Act::Receive => format!("{worker} hears that its claim is committed"),
        Act::Post => format!("{worker} posts message {message}"),
        Act::GiveBack => format!("{worker} does not post message {message}: too late"),
        Act::Handle => match stage {
            Some(Stage::Answered(answer)) => format!("Weixin handles message {message}: {answer:?}"),
            _ => format!("Weixin handles message {message}"),
        },
        Act::Deliver => format!("{worker} gets the response"),
        Act::Settle => format!("{worker} settles message {message}"),
        Act::Release => format!("{worker} gives back message {message}, whose claim it did not hear of"),
        Act::BeAnother => format!("{worker} finds that it is gone, and goes on under a new boot id"),
        Act::GoOn => format!("{worker} goes on"),
        Act::MarkGone => format!("{worker} is marked gone"),
        Act::BeginMark => format!("a transaction begins that marks {worker} gone and reclaims its attempts"),
        Act::CommitMark => "that transaction commits".to_owned(),
        Act::Reclaim => format!("message {message} is reclaimed"),
        Act::WindowOver => format!("the time to post message {message} is over"),
        Act::StrayArrives => format!("a request arrives that no worker waits for: message {message}"),
        Act::StrayIsLost => format!("a request that no worker waits for is lost: message {message}"),
        Act::Repeat => "the sender asks again with the same key".to_owned(),
        Act::StoreKey => "the key is committed".to_owned(),
        Act::CommitRow => format!("the application commits the transaction of row {message}"),
        Act::RollBackRow => format!("the application rolls back the transaction of row {message}"),
        Act::ReadRow => format!("the copier of {worker} reads row {message}"),
        Act::RecordRow => format!("the copier of {worker} has row {message} recorded"),
        Act::DeleteRow => format!("the copier of {worker} deletes row {message}"),
        Act::RejectRow => format!("the copier of {worker} writes an error into row {message}"),
        Act::Wish(wish) => wished(wish, message),
        Act::Fault(fault) => happened(fault, worker, message),
    }
}

fn wished(wish: Wish, message: usize) -> String {
    match wish {
        Wish::Enqueue => "the application enqueues a message".to_owned(),
        Wish::Consent => "the user consents".to_owned(),
        Wish::Cancel => format!("the application cancels message {message}"),
        Wish::Decide(decision) => format!("the operator decides message {message}: {decision}"),
        Wish::Line { changed: false } => "the batch is run again".to_owned(),
        Wish::Line { changed: true } => "the batch is run again with another content".to_owned(),
        Wish::Prune => "old rows are deleted".to_owned(),
        Wish::Insert => format!("the application inserts row {message}"),
        Wish::Replace => format!("the application inserts row {message} again, with another content"),
        Wish::Backup => "a backup is made".to_owned(),
    }
}

fn happened(fault: Fault, worker: &str, message: usize) -> String {
    match fault {
        Fault::Crash => format!("{worker} is killed, and starts again"),
        Fault::Stop => format!("{worker} is stopped, and its lease ends"),
        Fault::ConnectFails => format!("{worker} gets no connection for message {message}"),
        Fault::RequestIsSlow => {
            format!("{worker} gives up waiting; the request for message {message} is on its way")
        }
        Fault::ResponseIsLost => format!("the response to message {message} is lost"),
        Fault::Refuse => format!("Weixin refuses message {message}"),
        Fault::ClaimReplyIsLost => {
            format!("{worker} does not hear that its claim of message {message} is committed")
        }
        Fault::SettleReplyIsLost => format!("{worker} does not hear that message {message} is settled"),
        Fault::EnqueueReplyIsLost => "the sender does not hear that its message is recorded".to_owned(),
        Fault::SenderCrashes => "the process ends before the key is committed".to_owned(),
        Fault::RecordReplyIsLost => {
            format!("the copier of {worker} does not hear that row {message} is recorded")
        }
        Fault::Restore => "the backup is restored".to_owned(),
    }
}
