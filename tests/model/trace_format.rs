//! A way through the model in words.

use std::fmt::Write as _;

use super::search::{Found, Wrong};
use super::state::{Outcome, Stage, State, Token};
use super::step::{Act, Counted, Step};

pub(crate) fn account(name: &str, found: &Found) -> String {
    let Found { states, at_rest, reported, .. } = found;
    let healed = match reported {
        0 => "by itself".to_owned(),
        _ => format!("after one report at {reported} of them"),
    };
    format!("{name}: {states} states, {at_rest} at rest, all well {healed}")
}

pub(crate) fn story(start: &State, wrong: &Wrong) -> String {
    let mut told = format!("{}, after {} steps:\n", wrong.what, wrong.path.len());
    let mut before = start;
    for (number, (step, after)) in wrong.path.iter().enumerate() {
        let _ = writeln!(told, "  {:>2}. {}", number + 1, sentence(before, *step, after));
        before = after;
    }
    let _ = writeln!(told, "  stored: {}; the newest: token {}", name(before.store.token), before.newest);
    told
}

fn sentence(before: &State, step: Step, after: &State) -> String {
    let who = ["A", "B", "C"][step.at];
    let (was, is) = (&before.servers[step.at], &after.servers[step.at]);
    match step.act {
        Act::TakeLease if is.leases => format!("{who} takes the lease"),
        Act::TakeLease => format!("{who} does not get the lease, finds {} and adopts it", name(is.held)),
        Act::GoAlone => format!("{who} goes on without the store"),
        Act::PutOff => format!("{who} puts it off"),
        Act::Load => format!("{who} loads the record: {}", name(before.store.token)),
        Act::Mark if is.attempt.stage == Stage::Call => format!("{who} marks, and is about to call"),
        Act::Mark => format!("{who} no longer trusts its lease"),
        Act::Call => format!("{who} calls: Weixin issues token {}", after.newest),
        Act::Issue => format!("Weixin carries out the request of {who}: token {}", after.newest),
        Act::IssueToNobody => {
            format!("Weixin carries out a request nobody waits for: token {}", after.newest)
        }
        Act::DropStray => "a request nobody waits for gets lost".to_owned(),
        Act::Put => format!("{who} offers its token: {}", offered(is.attempt.stage, after)),
        Act::GiveUp => format!("{who} goes on; the time for its reply is over"),
        Act::End if is.held.id == 0 => format!("{who} is done, and holds nothing"),
        Act::End => format!("{who} is done, and holds {}", name(is.held)),
        Act::Poll if before.store.token != after.store.token => {
            format!("{who} reads the store, and gives it {}", name(is.held))
        }
        Act::Poll if was.held != is.held => format!("{who} reads the store, and adopts {}", name(is.held)),
        Act::Poll => format!("{who} reads the store"),
        Act::Suspect => format!("{who} finds that the mark is old"),
        Act::ForsakenLeaseEnds => "the lease that nobody knows of ends".to_owned(),
        Act::StoreIsBack => "the store is back".to_owned(),
        Act::Counted(counted) => happening(who, counted),
    }
}

fn happening(who: &str, counted: Counted) -> String {
    match counted {
        Counted::ComeDue => format!("{who} is due to fetch"),
        Counted::SeeRejection => format!("{who} sees its token rejected"),
        Counted::HearClaim => format!("{who} is told that its token does not work"),
        Counted::Crash => format!("{who} dies, and starts again"),
        Counted::Pause => format!("{who} is stopped for so long that its lease ends"),
        Counted::LoseReply => format!("the reply to {who} is lost"),
        Counted::Refuse => format!("Weixin refuses {who}"),
        Counted::CallSlowly => format!("{who} calls, and its request is slow"),
        Counted::StoreGoes => "the store goes away".to_owned(),
        Counted::StoreForgets => "the store loses everything".to_owned(),
    }
}

fn offered(stage: Stage, after: &State) -> String {
    let found = name(after.store.token);
    match stage {
        Stage::End { outcome: Outcome::Adopted { .. }, .. } => {
            format!("it lost to {found}, which is adopted")
        }
        Stage::End { outcome: Outcome::Issued(token) | Outcome::IssuedAlone(token), .. }
            if token == after.store.token =>
        {
            format!("{found} is stored")
        }
        Stage::End { .. } => "it cannot be stored".to_owned(),
        _ => format!("it lost to {found}, and is offered again"),
    }
}

fn name(token: Token) -> String {
    match token.id {
        0 => "nothing".to_owned(),
        id => format!("token {id} (generation {})", token.generation),
    }
}
