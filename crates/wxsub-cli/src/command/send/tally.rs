//! How many messages came to which end.

use std::fmt;

use super::deliver::Delivered;
use crate::exit::Exit;
use wxsub_server::result_line::Outcome;

/// The outcomes in the order in which they are told.
const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Sent, "sent"),
    (Outcome::Refused, "refused"),
    (Outcome::Invalid, "invalid"),
    (Outcome::NotSent, "not sent"),
    (Outcome::MaybeSent, "maybe sent"),
];

/// The counts, and the first reason for each outcome but success.
#[derive(Default)]
pub(super) struct Tally([(u64, Option<String>); 5]);

impl Tally {
    /// One more.
    pub(super) fn count(&mut self, delivered: &Delivered) {
        let kinds = self.0.iter_mut().zip(OUTCOMES);
        for ((count, first), _) in kinds.filter(|(_, (outcome, _))| *outcome == delivered.result.outcome) {
            *count += 1;
            if first.is_none() {
                first.clone_from(&delivered.why);
            }
        }
    }

    /// The largest exit code among them.
    pub(super) fn largest(&self) -> Exit {
        let met = self.met().map(|((outcome, _), ..)| Exit::from(outcome));
        met.max().unwrap_or(Exit::Done)
    }

    /// Whether there is one that may have arrived.
    pub(super) fn any_maybe_sent(&self) -> bool {
        self.largest() == Exit::MaybeSent
    }

    /// Why messages were not sent: for each outcome the first reason there was.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> {
        self.met().filter_map(|((_, name), _, first)| Some(format!("first {name}: {}", first.as_ref()?)))
    }

    fn met(&self) -> impl Iterator<Item = ((Outcome, &'static str), u64, &Option<String>)> {
        let all = OUTCOMES.into_iter().zip(&self.0);
        all.map(|(kind, (count, first))| (kind, *count, first)).filter(|(_, count, _)| *count > 0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((_, name), (count, _))) in OUTCOMES.iter().zip(&self.0).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {name}")?;
        }
        Ok(())
    }
}
