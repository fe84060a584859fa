//! The rate of audit lines about requests that the server refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use wxsub_core::clock::{ClockReading, MonotonicInstant, UnixMillis};

use super::entry::Entry;
use crate::state::connections::group;
use crate::state::denial::Denial;

/// How long the lines of a source are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// Maximum number of lines of a source in a window. The summary says how many more there were.
const MAX_LINES: u32 = 20;

/// Maximum number of sources that are counted apart. All others are counted together.
const MAX_SOURCES: usize = 1024;

/// The line that stands for refused requests without lines of their own.
#[serde_with::skip_serializing_none]
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(serialize_with = "wxsub_core::rfc3339::serialize")]
    at: UnixMillis,
    outcome: &'static str,
    client: Option<String>,
    #[serde(serialize_with = "network")]
    address: Option<IpAddr>,
    reason: Option<Denial>,
    /// How many requests have no line.
    left_out: u64,
}

/// Who was refused and why: the group of an address, and the client whose key it used. So an address cannot hide the key of a
/// client among unknown keys. Of sources that are too many, the address is not known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    address: Option<IpAddr>,
    client: Option<String>,
    outcome: &'static str,
    reason: Option<Denial>,
}

/// The address of a group; for IPv6, with the length of its prefix.
fn network<S: Serializer>(group: &Option<IpAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match group {
        Some(IpAddr::V6(network)) => serializer.collect_str(&format_args!("{network}/64")),
        address => address.serialize(serializer),
    }
}

/// The refused requests of the current window of each source.
#[derive(Default)]
pub(super) struct LineLimiter(HashMap<Source, Window>);

struct Window {
    started_at: MonotonicInstant,
    lines: u32,
    left_out: u64,
}

impl LineLimiter {
    /// Whether this refused request gets a line. Otherwise it is counted for the summary.
    pub(super) fn admit(&mut self, entry: &Entry, now: MonotonicInstant) -> bool {
        let client = entry.client.as_ref().map(|client| client.name.clone());
        let (outcome, reason) = (entry.outcome, entry.reason);
        self.admit_source(Source { address: entry.address.map(group), client, outcome, reason }, now)
    }

    fn admit_source(&mut self, mut source: Source, now: MonotonicInstant) -> bool {
        if self.0.len() >= MAX_SOURCES && !self.0.contains_key(&source) {
            source = Source { address: None, client: None, reason: None, ..source };
        }
        let new = Window { started_at: now, lines: 0, left_out: 0 };
        let window = self.0.entry(source).or_insert(new);
        let has_line = window.lines < MAX_LINES;
        if has_line {
            window.lines += 1;
        } else {
            window.left_out += 1;
        }
        has_line
    }

    /// Ends the windows that are over, or all. Returns a summary of each that left lines out.
    pub(super) fn take_summaries(&mut self, now: ClockReading, are_all_due: bool) -> Vec<Summary> {
        let is_over = |window: &Window| are_all_due || now.mono.duration_since(window.started_at) >= WINDOW;
        let over = self.0.extract_if(|_, window| is_over(window));
        let summary = |(Source { address, client, outcome, reason }, window): (Source, Window)| Summary {
            at: now.wall,
            outcome,
            client,
            address,
            reason,
            left_out: window.left_out,
        };
        over.filter(|(_, window)| window.left_out > 0).map(summary).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> ClockReading {
        ClockReading::default() + Duration::from_secs(seconds)
    }

    fn denied(address: IpAddr, client: Option<&str>) -> Source {
        let (address, client) = (Some(group(address)), client.map(str::to_owned));
        Source { address, client, outcome: "denied", reason: None }
    }

    #[test]
    fn summary_counts_the_denials_without_a_line() {
        let mut limiter = LineLimiter::default();
        let admitted = |limiter: &mut LineLimiter, address: &str| {
            (0..1000)
                .filter(|_| limiter.admit_source(denied(address.parse().unwrap(), None), at(0).mono))
                .count()
        };
        assert_eq!(admitted(&mut limiter, "10.0.0.1"), 20);
        assert_eq!(admitted(&mut limiter, "10.0.0.2"), 20);
        assert_eq!(admitted(&mut limiter, "2001:db8::1"), 20);
        assert_eq!(admitted(&mut limiter, "2001:db8::2"), 0);
        assert!(limiter.take_summaries(at(59), false).is_empty());
        let mut summaries: Vec<_> = limiter
            .take_summaries(at(60), false)
            .iter()
            .map(|line| serde_json::to_string(line).unwrap())
            .collect();
        summaries.sort();
        let line = |address: &str, left_out: u32| {
            format!(
                r#"{{"at":"1970-01-01T00:01:00Z","outcome":"denied","address":"{address}","left_out":{left_out}}}"#
            )
        };
        assert_eq!(summaries, [line("10.0.0.1", 980), line("10.0.0.2", 980), line("2001:db8::/64", 1980)]);
        // A new window.
        assert!(limiter.admit_source(denied("10.0.0.1".parse().unwrap(), None), at(61).mono));
        assert!(limiter.take_summaries(at(61), true).is_empty());
    }

    #[test]
    fn key_of_a_client_is_not_hidden_among_unknown_keys() {
        let (mut limiter, address) = (LineLimiter::default(), "10.0.0.1".parse().unwrap());
        let mut admitted =
            |client| (0..1000).filter(|_| limiter.admit_source(denied(address, client), at(0).mono)).count();
        assert_eq!((admitted(None), admitted(Some("orders"))), (20, 20));
        let summaries = serde_json::to_string(&limiter.take_summaries(at(60), false)).unwrap();
        assert!(
            summaries.contains(r#""client":"orders","address":"10.0.0.1","left_out":980"#),
            "{summaries}"
        );
    }

    #[test]
    fn each_client_and_reason_has_few_lines_and_a_summary() {
        let mut limiter = LineLimiter::default();
        let mut admitted = |outcome, reason| {
            let source = Source { outcome, reason, ..denied("10.0.0.1".parse().unwrap(), Some("orders")) };
            (0..100_000).filter(|_| limiter.admit_source(source.clone(), at(0).mono)).count()
        };
        assert_eq!((admitted("rate_limited", None), admitted("overloaded", None)), (20, 20));
        assert_eq!(admitted("denied", Some(Denial::MissingScope)), 20);
        let summaries = serde_json::to_string(&limiter.take_summaries(at(60), false)).unwrap();
        let facts = |outcome: &str, reason: &str| {
            format!(
                r#""outcome":"{outcome}","client":"orders","address":"10.0.0.1"{reason},"left_out":99980"#
            )
        };
        for line in [
            facts("rate_limited", ""),
            facts("overloaded", ""),
            facts("denied", r#","reason":"missing_scope""#),
        ] {
            assert!(summaries.contains(&line), "{line} is not in {summaries}");
        }
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_lines() {
        let mut limiter = LineLimiter::default();
        let lines = (0..100_000_u32)
            .filter(|bits| limiter.admit_source(denied(IpAddr::V4((*bits).into()), None), at(0).mono))
            .count();
        assert_eq!((lines, limiter.0.len()), (1024 + 20, 1025));
        let summaries = limiter.take_summaries(at(60), false);
        assert_eq!(summaries.len(), 1);
        assert!(!serde_json::to_string(&summaries).unwrap().contains("address"));
    }
}
