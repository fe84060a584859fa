//! Whether the shared store works, as the attempts and reads of one process see it.

use std::time::Duration;

use wxsub_proto::Remedy;

use super::{Generation, TokenEvent};
use crate::clock::{ClockReading, MonotonicInstant};
use crate::store::{MAX_LEASE, MAX_SILENT_READ_FAILURES, StoreError, StoreErrorKind};

/// Whether the shared store works, and whether it knows the current token. A fetch without the store may
/// invalidate the token of peers, and they do not know it.
#[derive(Debug, Default)]
pub(super) struct StoreHealth {
    pub(super) problem: Option<StoreFailure>,
    /// The peer that has the lease, if it had it in the last attempt too.
    pub(super) awaited_holder: Option<AwaitedHolder>,
    /// Since when reads fail outside of attempts.
    reads_fail_since: Option<MonotonicInstant>,
    /// The highest generation known before the current token was fetched without the store. `None` if the store
    /// knows the current token.
    pub(super) unleased_after: Option<Generation>,
    /// How long before expiry the next token is fetched without the store.
    pub(super) unleased_lead: Duration,
}

/// A failure of the store, until it works again.
#[derive(Debug)]
pub(super) struct StoreFailure {
    pub(super) error: StoreError,
    pub(super) since: ClockReading,
    /// Whether only reads failed. Then a read that succeeds ends it.
    is_read_only: bool,
}

/// A peer that has the lease, and when attempts first and last found it there.
#[derive(Debug)]
pub(super) struct AwaitedHolder {
    name: String,
    since: MonotonicInstant,
    seen: MonotonicInstant,
}

impl StoreHealth {
    /// The store works. Only a read shows that the record is of this endpoint again.
    pub(super) fn works(&mut self) -> Option<TokenEvent> {
        self.end_if(|problem| problem.error.kind() != StoreErrorKind::OtherEndpoint)
    }

    fn end_if(&mut self, ends: impl Fn(&StoreFailure) -> bool) -> Option<TokenEvent> {
        self.problem.take_if(|problem| ends(problem)).map(|_| TokenEvent::StoreRecovered)
    }

    /// A call of an attempt failed.
    pub(super) fn failed(&mut self, now: ClockReading, error: StoreError) -> Option<TokenEvent> {
        self.record(now, error, false)
    }

    /// A read outside of attempts succeeded. That does not end a failure of an attempt: a replica may serve old records,
    /// and writes may still fail.
    pub(super) fn read_succeeded(&mut self) -> Option<TokenEvent> {
        self.reads_fail_since = None;
        self.end_if(|problem| problem.is_read_only)
    }

    /// A read outside of attempts failed. Nothing needs the store now, so a short outage is no problem.
    pub(super) fn read_failed(&mut self, now: ClockReading, error: StoreError) -> Option<TokenEvent> {
        let since = *self.reads_fail_since.get_or_insert(now.mono);
        let lasts = now.mono.duration_since(since) >= MAX_SILENT_READ_FAILURES;
        if !lasts && error.remedy() == Remedy::RetryLater && self.problem.is_none() {
            return None;
        }
        let is_read_only = self.problem.as_ref().is_none_or(|problem| problem.is_read_only);
        self.record(now, error, is_read_only)
    }

    /// A read outside of attempts found a broken record, or one of the other endpoint.
    pub(super) fn record_is_odd(&mut self, now: ClockReading, error: StoreError) -> Option<TokenEvent> {
        self.reads_fail_since = None;
        match &self.problem {
            Some(problem) if !problem.is_read_only => None,
            _ => self.record(now, error, true),
        }
    }

    /// A peer has the lease. That is a problem if it is the same peer for longer than any attempt takes.
    pub(super) fn lease_is_held(&mut self, now: ClockReading, holder: Option<String>) -> Option<TokenEvent> {
        let known = self.awaited_holder.take();
        self.awaited_holder = holder.map(|name| {
            let is_same =
                |known: &AwaitedHolder| known.name == name && now.mono.duration_since(known.seen) < MAX_LEASE;
            let since = known.filter(is_same).map_or(now.mono, |known| known.since);
            AwaitedHolder { name, since, seen: now.mono }
        });
        let held = self.awaited_holder.as_ref().map(|peer| (now.mono.duration_since(peer.since), &peer.name));
        match held {
            Some((held, name)) if held > MAX_LEASE => {
                let detail = format!("the holder {name} has had the lease for {} s", held.as_secs());
                self.failed(now, StoreError::new(StoreErrorKind::LeaseHeld, detail))
            }
            _ => self.works(),
        }
    }

    /// Records a failure. `is_read_only`: only reads failed.
    fn record(&mut self, now: ClockReading, error: StoreError, is_read_only: bool) -> Option<TokenEvent> {
        let known = self.problem.as_ref();
        let is_new = known.is_none_or(|known| known.error.kind() != error.kind());
        let since = known.map_or(now, |known| known.since);
        let event = is_new.then(|| TokenEvent::StoreUnavailable { error: error.clone() });
        self.problem = Some(StoreFailure { error, since, is_read_only });
        event
    }
}
