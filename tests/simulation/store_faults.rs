//! Faults of Redis and of the connection to it.

use std::time::Duration;

use fastrand::Rng;
use wxsub_core::clock::millis;
use wxsub_core::store::{StoreError, StoreErrorKind};

use super::fault_window::FaultWindow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// Redis or the record refuses some operations, at once.
    Refused(StoreErrorKind),
    /// Requests never arrive.
    RequestsLost,
    /// Requests arrive and take effect. Responses never arrive.
    ResponsesLost,
    /// Each way takes up to 2.5 s.
    Slow,
    /// Redis is suspended, and handles all pending requests at this time.
    Suspended(Duration),
}

/// What a script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    /// Reads the change log.
    ReadLog,
    Write,
    Lease,
}

/// The kinds of refusals.
const REFUSALS: [StoreErrorKind; 10] = [
    StoreErrorKind::Unreachable,
    StoreErrorKind::UnknownHost,
    StoreErrorKind::Certificate,
    StoreErrorKind::WrongCredentials,
    StoreErrorKind::Cluster,
    StoreErrorKind::ReadOnly,
    StoreErrorKind::OutOfMemory,
    StoreErrorKind::MissingRight,
    StoreErrorKind::EncryptionKey,
    StoreErrorKind::NewerLayout,
];

/// How long a request and its response take. `None` if it never arrives.
pub(super) struct RoundTrip {
    pub(super) request: Option<Duration>,
    pub(super) response: Option<Duration>,
}

impl RoundTrip {
    /// A trip without a fault. One of the two ways takes no time, which makes the simulation faster.
    pub(super) fn without_fault(rng: &mut Rng) -> Self {
        let (way, time) = (rng.bool(), Duration::from_millis(rng.u64(1..5)));
        let (request, response) = if way { (time, Duration::ZERO) } else { (Duration::ZERO, time) };
        Self { request: Some(request), response: Some(response) }
    }
}

impl StoreFault {
    /// The trip of a request that is sent now.
    pub(super) fn round_trip(self, now: Duration, rng: &mut Rng) -> RoundTrip {
        let mut slow = || Some(Duration::from_millis(rng.u64(1..2_500)));
        match self {
            Self::RequestsLost => RoundTrip { request: None, response: None },
            Self::ResponsesLost => RoundTrip { request: Some(Duration::from_millis(2)), response: None },
            Self::Slow => RoundTrip { request: slow(), response: slow() },
            Self::Suspended(until) => {
                let request = until.saturating_sub(now).max(Duration::from_millis(1));
                RoundTrip { request: Some(request), response: Some(Duration::from_millis(1)) }
            }
            Self::Refused(_) => RoundTrip::without_fault(rng),
        }
    }

    /// The refusal of this operation.
    pub(super) fn refusal(self, operation: Operation) -> Option<StoreError> {
        let Self::Refused(kind) = self else { return None };
        let refuses = match kind {
            StoreErrorKind::ReadOnly | StoreErrorKind::OutOfMemory => {
                matches!(operation, Operation::Write | Operation::Lease)
            }
            // The right to change the record is missing.
            StoreErrorKind::MissingRight => operation == Operation::Write,
            StoreErrorKind::EncryptionKey => operation == Operation::Read,
            StoreErrorKind::NewerLayout => matches!(operation, Operation::Read | Operation::Write),
            _ => true,
        };
        refuses.then(|| StoreError::new(kind, "refused"))
    }

    /// Whether the record cannot be read while the lease works.
    pub(super) fn is_unreadable(self) -> bool {
        matches!(self, Self::Refused(StoreErrorKind::EncryptionKey | StoreErrorKind::NewerLayout))
    }
}

/// Draws a window that begins before `end`.
pub(super) fn draw_store_fault(rng: &mut Rng, end: Duration) -> FaultWindow<StoreFault> {
    let from = Duration::from_millis(rng.u64(0..millis(end)));
    let length = if rng.u8(0..3) == 0 { rng.u64(60_000..1_200_000) } else { rng.u64(100..120_000) };
    let to = end.min(from + Duration::from_millis(length));
    let fault = match rng.u8(0..8) {
        0 => StoreFault::RequestsLost,
        1 => StoreFault::ResponsesLost,
        2 => StoreFault::Slow,
        3 => StoreFault::Suspended(to),
        _ => StoreFault::Refused(REFUSALS[rng.usize(0..REFUSALS.len())]),
    };
    FaultWindow { from, to, fault, percent: 100 }
}
