//! A path through the model in words.

use super::search::Violation;
use super::state::{Outcome, Stage, State, Token};
use super::step::{Act, Counted, Step};

pub(crate) fn trace(start: &State, violation: &Violation) -> String {
    let last = violation.path.last().map_or(start, |(_, state)| state);
    let end = format!("  stored: {}; valid: token {}\n", name(last.store.token), last.newest);
    violation.trace(start, describe_step) + &end
}

fn describe_step(before: &State, step: Step, after: &State) -> String {
    let server = ["A", "B", "C"][step.at];
    let (was, is) = (&before.servers[step.at], &after.servers[step.at]);
    match step.act {
        Act::TakeLease if is.holds_lease => format!("{server} takes the lease"),
        Act::TakeLease => format!("{server} does not get the lease, finds {} and adopts it", name(is.held)),
        Act::FetchWithoutLease => format!("{server} fetches without lease"),
        Act::Postpone => format!("{server} postpones the fetch"),
        Act::Load => format!("{server} loads the record: {}", name(before.store.token)),
        Act::Mark if is.attempt.stage == Stage::Call => format!("{server} sets the marker"),
        Act::Mark => format!("{server} finds that its lease may have expired"),
        Act::Call => format!("{server} calls: Weixin issues token {}", after.newest),
        Act::Issue => format!("Weixin handles the request of {server}: token {}", after.newest),
        Act::IssueOrphaned => {
            format!("Weixin handles a request that was given up: token {}", after.newest)
        }
        Act::DropOrphaned => "a request that was given up is lost".to_owned(),
        Act::Put => {
            format!("{server} tries to store its token: {}", describe_store_attempt(is.attempt.stage, after))
        }
        Act::GiveUp => format!("{server} runs into its timeout"),
        Act::End if is.held.id == 0 => format!("{server} ends its attempt, and holds no token"),
        Act::End => format!("{server} ends its attempt, and holds {}", name(is.held)),
        Act::Poll | Act::Counted(Counted::SpareLook)
            if before.store.token != after.store.token && before.store.token.id == after.store.token.id =>
        {
            format!("{server} reads the store, finds a later request there, and makes it {}", name(is.held))
        }
        Act::Poll | Act::Counted(Counted::SpareLook) if before.store.token != after.store.token => {
            format!("{server} reads the store, and publishes {}", name(is.held))
        }
        Act::Poll | Act::Counted(Counted::SpareLook) if was.held != is.held => {
            format!("{server} reads the store, and adopts {}", name(is.held))
        }
        Act::Poll => format!("{server} reads the store"),
        Act::ScheduleTakeover => format!("{server} finds that the marker is older than a lease"),
        Act::ReadsAgain => format!("{server} can read the record again"),
        Act::IsCorrected => format!("{server} restarts with the right upstream"),
        Act::OrphanedLeaseExpires => "the orphaned lease expires".to_owned(),
        Act::StoreRecovers => "the store recovers".to_owned(),
        Act::Counted(counted) => describe_counted(server, counted),
    }
}

fn describe_counted(server: &str, counted: Counted) -> String {
    match counted {
        Counted::SpareLook => format!("{server} reads the store"),
        Counted::RefreshDue => format!("{server} is due to refresh"),
        Counted::SeeRejection => format!("{server} sees that Weixin rejects its token"),
        Counted::Report => format!("{server} gets a report that its token is invalid"),
        Counted::Crash => format!("{server} crashes and restarts"),
        Counted::Pause => format!("{server} is suspended until its lease expires"),
        Counted::LoseResponse => format!("the response to {server} is lost"),
        Counted::Refuse => format!("Weixin refuses {server}"),
        Counted::DelayRequest => format!("{server} calls, and its request is delayed"),
        Counted::StoreFails => "the store becomes unavailable".to_owned(),
        Counted::CannotRead => format!("{server} can no longer read the record"),
        Counted::LeaseWithoutEnd => "the store gets a lease without end".to_owned(),
        Counted::OtherUpstream => format!("{server} restarts with another upstream"),
        Counted::RecordBreaks(true) => "the record breaks, and its generation is lost".to_owned(),
        Counted::RecordBreaks(false) => "the record breaks".to_owned(),
        Counted::StoreLosesData => "the store loses its data".to_owned(),
    }
}

fn describe_store_attempt(stage: Stage, after: &State) -> String {
    let found = name(after.store.token);
    match stage {
        Stage::End { outcome: Outcome::Adopted { .. }, .. } => {
            format!("the store has {found}, which is adopted")
        }
        Stage::End { outcome: Outcome::Issued(token) | Outcome::IssuedWithoutLease(token), .. }
            if token == after.store.token =>
        {
            format!("{found} is stored")
        }
        Stage::End { .. } => "it cannot be stored".to_owned(),
        _ => format!("the store has {found}; tries again"),
    }
}

fn name(token: Token) -> String {
    match token.id {
        0 => "nothing".to_owned(),
        id => format!("token {id} (generation {})", token.generation),
    }
}
