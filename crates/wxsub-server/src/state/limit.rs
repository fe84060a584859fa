//! The limits of the load: their names, and what is logged and counted when one is reached.

use std::fmt::Display;
use std::sync::Mutex;
use std::time::Duration;

use tracing::warn;
use wxsub_core::clock::MonotonicInstant;
use wxsub_core::rate_limit::TokenBucket;
use wxsub_proto::named_enum;

use crate::state::locked;

named_enum! {
    /// A limit of the load.
    pub(crate) enum Limit {
        /// Open connections.
        Connections = "connections",
        /// Open connections of one address.
        ConnectionsPerAddress = "connections_per_address",
        /// Open connections to the listener of the console.
        ConsoleConnections = "console_connections",
        /// Those of one address.
        ConsoleConnectionsPerAddress = "console_connections_per_address",
        /// Open connections to the listener of `/metrics`.
        MetricsConnections = "metrics_connections",
        /// Those of one address.
        MetricsConnectionsPerAddress = "metrics_connections_per_address",
        /// TLS handshakes of one address in a second.
        HandshakesPerAddress = "handshakes_per_address",
        /// Requests of one client in a second.
        RequestsPerKey = "requests_per_key",
        /// Requests without a known key of one address in a second.
        KeylessRequests = "keyless_requests",
        /// Requests in flight.
        InFlight = "in_flight",
        /// Requests in flight of one client.
        InFlightPerKey = "in_flight_per_key",
        /// Bodies of one client that are not complete yet.
        BodiesPerKey = "bodies_per_key",
        /// Bodies without a known key that are not complete yet.
        KeylessBodies = "keyless_bodies",
    }
}

/// How much of a limit is in use. Of a limit for each caller: the most that one caller uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitUse {
    pub(crate) limit: Limit,
    pub(crate) used: usize,
    pub(crate) max: usize,
}

/// Minimum time between two log lines about one limit.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Logs reached limits, at most one line in a minute for each.
pub(crate) struct LimitLog([Mutex<LogState>; Limit::ALL.len()]);

struct LogState {
    lines: TokenBucket,
    /// How often the limit was reached since the last line.
    count: u64,
}

impl LimitLog {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| {
            Mutex::new(LogState { lines: TokenBucket::new(1, LOG_INTERVAL), count: 0 })
        }))
    }

    /// Logs that a caller reached a limit, unless a line about it was written within the last minute.
    pub(crate) fn record(&self, limit: Limit, caller: &dyn Display, now: MonotonicInstant) {
        if let Some(count) = self.count(limit, now) {
            warn!(limit = limit.as_str(), count, %caller, "a limit was reached");
        }
    }

    /// How often the limit was reached since the last line, if it is time for another one.
    fn count(&self, limit: Limit, now: MonotonicInstant) -> Option<u64> {
        let mut state = locked(self.0.get(limit as usize)?);
        state.count += 1;
        state.lines.try_acquire(now).ok().map(|()| std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_one_line_a_minute_with_its_count() {
        let log = LimitLog::new();
        let at = |seconds| MonotonicInstant::from_origin(Duration::from_secs(seconds));
        assert_eq!(log.count(Limit::InFlight, at(100)), Some(1));
        for _ in 0..5000 {
            assert_eq!(log.count(Limit::InFlight, at(130)), None);
        }
        assert_eq!(log.count(Limit::Connections, at(130)), Some(1));
        assert_eq!(log.count(Limit::InFlight, at(160)), Some(5001));
    }
}
