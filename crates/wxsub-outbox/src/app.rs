//! What the ledger keeps of an app: why it waits, and how many messages it has in each state.

#![expect(clippy::exhaustive_structs, reason = "a ledger writes and reads every column")]

use std::collections::BTreeMap;
use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::quota::{MINUTE_QUOTA_DELAY, next_daily_reset};

use crate::id::MessageId;
use crate::message::{NotAccepted, StoredMessage};
use crate::state::{MessageState, WaitingFor};

/// How often one message tries whether Weixin's limit per day is lifted, before midnight in Beijing.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(3600);

/// When the next message tries it after one that got no response.
pub const PROBE_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The longest pause for want of a token. The pause starts at 1 s and doubles.
pub const MAX_TOKEN_PAUSE: Duration = Duration::from_secs(60);

/// What the ledger keeps of an app: its row of `wxsub_app` and its rows of `wxsub_count`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredApp {
    /// Why it waits. The reasons are independent of each other.
    pub pauses: Pauses,
    /// How many messages it has in each state; none in a state that is missing.
    pub counts: BTreeMap<MessageState, u64>,
    /// How many of its `maybe_sent` messages are undecided.
    pub undecided: u64,
}

/// Why an app waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses {
    /// An operator paused it.
    pub operator: Option<OperatorPause>,
    /// 45011: until when.
    pub minute_quota_until: Option<UnixMillis>,
    /// 45009.
    pub daily_quota: Option<DailyQuotaPause>,
    /// No token could be had.
    pub token: Option<TokenPause>,
}

/// A pause by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPause {
    /// Who.
    pub by: String,
    /// Why.
    pub note: String,
    /// Since when.
    pub since: UnixMillis,
}

/// A pause for Weixin's limit per day. One message at a time is the probe; Weixin's response to it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyQuotaPause {
    /// Midnight in Beijing, when the limit starts anew.
    pub until: UnixMillis,
    /// When the next probe may be claimed.
    pub next_probe_at: UnixMillis,
    /// The probe that is under way.
    pub probe: Option<MessageId>,
}

/// A pause for want of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenPause {
    /// When the next attempt may be made.
    pub until: UnixMillis,
    /// How often in a row there was none.
    pub failures: u32,
}

impl StoredApp {
    /// What a message of this app waits for; `None` if only for a free slot, or if it is not queued.
    #[must_use]
    pub fn waiting_for(&self, message: &StoredMessage, now: UnixMillis) -> Option<WaitingFor> {
        if message.state != MessageState::Queued {
            return None;
        }
        if message.send_at.min(message.due_at) > now {
            return Some(WaitingFor::SendAt);
        }
        self.pauses.waiting_for(now).or_else(|| (message.due_at > now).then_some(WaitingFor::Retry))
    }

    /// When the wait that [`waiting_for`](Self::waiting_for) names ends by itself. `None` if only an operator ends it.
    #[must_use]
    pub fn waits_until(&self, message: &StoredMessage, now: UnixMillis) -> Option<UnixMillis> {
        match self.waiting_for(message, now)? {
            WaitingFor::SendAt => Some(message.send_at),
            WaitingFor::Retry => Some(message.due_at),
            _ => self.pauses.waits_until(now),
        }
    }
}

impl Pauses {
    /// How many messages may be claimed now, of at most `limit`.
    #[must_use]
    pub fn claimable(&self, limit: usize, now: UnixMillis) -> usize {
        if self.operator.is_some() || self.rate_limited(now) || self.lacks_token(now) {
            return 0;
        }
        match &self.daily_quota {
            Some(quota) if waits(quota.next_probe_at, PROBE_INTERVAL, now) => 0,
            Some(_) => limit.min(1),
            None => limit,
        }
    }

    /// What a due message waits for.
    #[must_use]
    pub fn waiting_for(&self, now: UnixMillis) -> Option<WaitingFor> {
        if self.operator.is_some() {
            Some(WaitingFor::Paused)
        } else if self.daily_quota.is_some() {
            Some(WaitingFor::Quota)
        } else if self.rate_limited(now) {
            Some(WaitingFor::Rate)
        } else if self.lacks_token(now) {
            Some(WaitingFor::Token)
        } else {
            None
        }
    }

    /// When the wait that [`waiting_for`](Self::waiting_for) names ends by itself. `None` if only an operator ends it.
    #[must_use]
    pub fn waits_until(&self, now: UnixMillis) -> Option<UnixMillis> {
        match self.waiting_for(now)? {
            WaitingFor::Quota => self.daily_quota.map(|quota| quota.until),
            WaitingFor::Rate => self.minute_quota_until,
            WaitingFor::Token => self.token.map(|pause| pause.until),
            _ => None,
        }
    }

    /// The message was claimed. During a daily pause it is the probe.
    pub(crate) fn claimed(&mut self, message: MessageId, now: UnixMillis) {
        if let Some(quota) = &mut self.daily_quota {
            quota.probe = Some(message);
            // It may get no response at all. The limit starts anew at midnight all the same.
            let next = now + PROBE_INTERVAL;
            quota.next_probe_at = if now < quota.until { next.min(quota.until) } else { next };
        }
    }

    /// The message's attempt ended. `pause` is why the app must wait, if it must.
    pub(crate) fn settled(&mut self, message: &StoredMessage, pause: Option<NotAccepted>, now: UnixMillis) {
        let answered = matches!(message.state, MessageState::Sent | MessageState::Refused) && pause.is_none();
        if answered {
            self.token = None;
        }
        if let Some(quota) = &mut self.daily_quota
            && quota.probe == Some(message.id)
        {
            quota.probe = None;
            if answered {
                self.daily_quota = None;
            } else {
                quota.next_probe_at = quota.next_probe_at.min(now + PROBE_RETRY_INTERVAL);
            }
        }
        match pause {
            Some(NotAccepted::DailyQuota) => self.exceed_daily_quota(now),
            Some(NotAccepted::MinuteQuota) => self.minute_quota_until = Some(now + MINUTE_QUOTA_DELAY),
            Some(NotAccepted::NoToken | NotAccepted::StaleToken) => self.lack_token(now),
            None => {}
        }
    }

    /// There is no token to send with.
    fn lack_token(&mut self, now: UnixMillis) {
        if self.lacks_token(now) {
            // Several attempts failed together.
            return;
        }
        let failures = self.token.map_or(0, |pause| pause.failures).saturating_add(1);
        let wait = Duration::from_secs(1 << (failures - 1).min(6)).min(MAX_TOKEN_PAUSE);
        self.token = Some(TokenPause { until: now + wait, failures });
    }

    fn exceed_daily_quota(&mut self, now: UnixMillis) {
        let until = next_daily_reset(now);
        let next_probe_at = until.min(now + PROBE_INTERVAL);
        let probe = self.daily_quota.and_then(|quota| quota.probe);
        self.daily_quota = Some(DailyQuotaPause { until, next_probe_at, probe });
    }

    fn rate_limited(&self, now: UnixMillis) -> bool {
        self.minute_quota_until.is_some_and(|until| waits(until, MINUTE_QUOTA_DELAY, now))
    }

    fn lacks_token(&self, now: UnixMillis) -> bool {
        self.token.is_some_and(|pause| waits(pause.until, MAX_TOKEN_PAUSE, now))
    }
}

/// Whether a pause goes on. One with more left than the longest began before the ledger's clock was set back, and is over.
fn waits(until: UnixMillis, longest: Duration, now: UnixMillis) -> bool {
    now < until && until <= now + longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn each_pause_stops_claims_and_says_so() {
        let now = UnixMillis::new(1_780_286_400_000);
        let later = now + MINUTE;
        let operator = OperatorPause { by: "ops".to_owned(), note: String::new(), since: now };
        let midnight = next_daily_reset(now);
        let quota = DailyQuotaPause { until: midnight, next_probe_at: later, probe: None };
        for (pauses, waiting, until, then) in [
            (Pauses { operator: Some(operator), ..Pauses::default() }, WaitingFor::Paused, None, 0),
            (
                Pauses { minute_quota_until: Some(later), ..Pauses::default() },
                WaitingFor::Rate,
                Some(later),
                9,
            ),
            (Pauses { daily_quota: Some(quota), ..Pauses::default() }, WaitingFor::Quota, Some(midnight), 1),
            (
                Pauses { token: Some(TokenPause { until: later, failures: 1 }), ..Pauses::default() },
                WaitingFor::Token,
                Some(later),
                9,
            ),
        ] {
            assert_eq!((pauses.claimable(9, now), pauses.waiting_for(now)), (0, Some(waiting)));
            assert_eq!(pauses.waits_until(now), until, "{waiting}");
            assert_eq!(pauses.claimable(9, later), then, "{waiting}");
        }
        assert_eq!((Pauses::default().claimable(9, now), Pauses::default().waiting_for(now)), (9, None));
    }

    /// The clock of the ledger was set back after the pauses began.
    #[test]
    fn a_pause_that_is_longer_than_it_can_be_is_over() {
        let (now, later) =
            (UnixMillis::new(1_780_286_400_000), UnixMillis::new(1_780_286_400_000) + 24 * 60 * MINUTE);
        let token = TokenPause { until: later + MINUTE, failures: 1 };
        let quota = DailyQuotaPause { until: later, next_probe_at: later, probe: None };
        let mut pauses = Pauses { minute_quota_until: Some(later), token: Some(token), ..Pauses::default() };
        assert_eq!((pauses.claimable(9, now), pauses.waiting_for(now)), (9, None));
        // It begins anew.
        pauses.lack_token(now);
        assert_eq!((pauses.claimable(9, now), pauses.waiting_for(now)), (0, Some(WaitingFor::Token)));
        let pauses = Pauses { daily_quota: Some(quota), ..Pauses::default() };
        assert_eq!((pauses.claimable(9, now), pauses.waiting_for(now)), (1, Some(WaitingFor::Quota)));
    }

    #[test]
    fn the_pause_for_want_of_a_token_doubles_up_to_its_bound() {
        let (mut pauses, mut now) = (Pauses::default(), UnixMillis::new(1_000));
        let mut waits = Vec::new();
        for _ in 0..9 {
            pauses.lack_token(now);
            pauses.lack_token(now);
            let until = pauses.token.unwrap().until;
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
