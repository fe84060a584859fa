//! Decides when a batch begins the next attempt and when it stops.
//!
//! The state machine does no I/O. Callers pass in signals and the time, and carry out the decisions.

use std::time::Duration;

use clap::ValueEnum;
use derive_more::Display;
use wxsub_core::clock::MonotonicInstant;

use crate::language::localized;

/// Pauses after 1, 2 and 3 failures in a row without a response. One more failure stops the batch.
const NETWORK_PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(4)];

/// Maximum number of waits in a row for a rate limit.
const MAX_RATE_LIMIT_WAITS: usize = 10;

/// Maximum length of a pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// What to do if later lines would probably fail too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnError {
    /// Start no more lines
    Stop,
    /// Try every line once; stop only at a used-up daily quota (45009)
    Continue,
}

/// Settings of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowRules {
    pub(super) on_error: OnError,
    /// Maximum number of lines to post.
    pub(super) limit: Option<u64>,
    /// Minimum time between two attempts.
    pub(super) interval: Duration,
}

/// What the outcome of an attempt means for the following lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Weixin responded. The outcome concerns only this line.
    Responded,
    /// Too many calls. The line was not sent and can be tried again after this time.
    RateLimited(Duration),
    /// Nothing responded, and the line was certainly not sent. It can be tried again after this time.
    NotReached(Duration),
    /// The line was posted, but no valid response arrived.
    NoResponse,
    /// No line can be sent until the cause is removed.
    Blocked(Block),
}

/// A cause that prevents all sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
pub(super) enum Block {
    /// 45009: the daily quota is used up.
    #[display("{}", localized!(
        "errcode 45009, the daily quota is used up; continue after midnight, Beijing time",
        "errcode 45009，当日额度已用完；请在北京时间零点之后继续"
    ))]
    DailyQuota,
    /// Weixin refused to issue an access token.
    #[display("{}", localized!("Weixin refused the access token", "微信拒绝签发 access_token"))]
    TokenRefused,
    /// The configuration is wrong, here or in Weixin's console.
    #[display("{}", localized!("the configuration must be corrected first", "请先修正配置"))]
    Configuration,
}

/// Why a batch stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
pub(super) enum StopReason {
    /// A block, found by this line.
    #[display("{}{_0}", at(*_1))]
    Blocked(Block, u64),
    /// Several attempts in a row without a response, the last one for this line.
    #[display("{}{}", at(*_0), localized!(
        "no response to {attempts} attempts in a row",
        "连续 {attempts} 次没有收到响应",
        attempts = NETWORK_PAUSES.len() + 1
    ))]
    NoResponse(u64),
    /// A rate limit that remained after several waits, found by this line.
    #[display("{}{}", at(*_0), localized!(
        "still too many calls after {MAX_RATE_LIMIT_WAITS} waits",
        "等待 {MAX_RATE_LIMIT_WAITS} 次之后调用仍然过于频繁"
    ))]
    RateLimited(u64),
    /// The limit of posted lines is reached.
    #[display("{}", localized!(
        "{lines} lines posted, the limit of --limit",
        "已发出 {lines} 行，达到 --limit 的上限",
        lines = _0
    ))]
    Limit(u64),
    /// An earlier run of a durable batch has found the daily quota used up.
    #[display("{}", localized!(
        "errcode 45009 in an earlier run, the daily quota is used up; continue after midnight, Beijing time, \
         or run `wxsub outbox resume` to try at once",
        "之前运行时返回 errcode 45009，当日额度已用完；请在北京时间零点之后继续，或运行 `wxsub outbox resume` 立即重试"
    ))]
    DailyQuotaBefore,
    /// An operator has paused the app.
    #[display("{}", localized!(
        "an operator has paused the app; run `wxsub outbox resume` to continue",
        "该应用已被暂停；要继续请运行 `wxsub outbox resume`"
    ))]
    Paused,
    /// So many commits to the ledger of a durable batch failed in a row.
    #[display("{}", localized!(
        "{commits} commits to the ledger failed in a row; remove the cause first",
        "消息库连续 {commits} 次提交失败；请先排除原因",
        commits = _0
    ))]
    LedgerFailed(u32),
    /// A stop signal.
    #[display("{}", localized!("stop signal received", "收到停止信号"))]
    Interrupted,
    /// A result could not be written.
    #[display("{}", localized!("a result could not be written", "有结果无法写入"))]
    ResultsLost,
    /// The input could not be read to its end.
    #[display("{}", localized!("the file could not be read to its end", "文件没有读到末尾"))]
    Unreadable,
}

/// When the next attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    At(MonotonicInstant),
    /// After the attempts in flight have ended.
    AfterResults,
    /// The batch has stopped.
    Never,
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    /// Whether to try the line again. Otherwise its result is final.
    pub(super) retry: bool,
    /// The pause that begins, if any.
    pub(super) pause: Option<Pause>,
}

/// A time without new attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
#[display("{}", localized!(
    "{cause}; next attempt in {seconds} s",
    "{cause}；{seconds} 秒后重试",
    seconds = length.as_millis().div_ceil(1000)
))]
pub(super) struct Pause {
    pub(super) cause: Cause,
    pub(super) length: Duration,
}

/// Cause of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
pub(super) enum Cause {
    #[display("{}", localized!("too many calls", "调用过于频繁"))]
    RateLimit,
    #[display("{}", localized!("no response", "没有响应"))]
    Network,
}

/// Limits the start of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Attempts start up to the concurrency limit.
    Free,
    /// No attempt starts before this time. Then one starts.
    Paused { until: MonotonicInstant, cause: Cause },
    /// One attempt is in flight after a pause. Its outcome decides the next mode.
    Probing,
}

/// The state machine of a batch.
#[derive(Debug)]
pub(super) struct Flow {
    rules: FlowRules,
    mode: Mode,
    /// Earliest time of the next attempt by the rate limit of the user.
    next_attempt: MonotonicInstant,
    /// How many lines have begun.
    pub(super) lines_begun: u64,
    /// Failures in a row without a response.
    failures: usize,
    /// Waits in a row for a rate limit of Weixin.
    waits: usize,
    /// Why the batch stopped.
    pub(super) stopped: Option<StopReason>,
}

impl Flow {
    pub(super) fn new(rules: FlowRules) -> Self {
        let next_attempt = MonotonicInstant::default();
        Self { rules, mode: Mode::Free, next_attempt, lines_begun: 0, failures: 0, waits: 0, stopped: None }
    }

    /// Returns when the next attempt may begin while `in_flight` attempts run.
    pub(super) fn next(&self, now: MonotonicInstant, in_flight: usize) -> Next {
        let earliest = match self.mode {
            _ if self.stopped.is_some() => return Next::Never,
            Mode::Free => self.next_attempt,
            Mode::Paused { .. } | Mode::Probing if in_flight > 0 => return Next::AfterResults,
            Mode::Probing => self.next_attempt,
            Mode::Paused { until, .. } => until.max(self.next_attempt),
        };
        if now < earliest { Next::At(earliest) } else { Next::Now }
    }

    /// Whether the limit of posted lines is reached.
    pub(super) fn is_limit_reached(&self) -> bool {
        self.lines_left() == 0
    }

    /// Records the start of the first attempt for a line.
    pub(super) fn begin_line(&mut self, now: MonotonicInstant) {
        self.lines_begun += 1;
        self.begin_retry(now);
    }

    /// Takes the start of lines back that were not posted.
    pub(super) fn take_back(&mut self, lines: u64) {
        self.lines_begun = self.lines_begun.saturating_sub(lines);
    }

    /// Whether more than one attempt may begin.
    pub(super) fn is_free(&self) -> bool {
        matches!(self.mode, Mode::Free)
    }

    /// How many lines may begin before the limit.
    pub(super) fn lines_left(&self) -> u64 {
        self.rules.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.lines_begun))
    }

    /// Records the start of another attempt for a line.
    pub(super) fn begin_retry(&mut self, now: MonotonicInstant) {
        self.next_attempt = now + self.rules.interval;
        if matches!(self.mode, Mode::Paused { .. }) {
            self.mode = Mode::Probing;
        }
    }

    /// Records the outcome of an attempt for this line and decides what to do.
    pub(super) fn handle(&mut self, line: u64, signal: Signal, now: MonotonicInstant) -> Decision {
        match signal {
            Signal::Responded => {
                self.resume();
                FINAL
            }
            Signal::Blocked(block) => {
                if block == Block::DailyQuota || self.rules.on_error == OnError::Stop {
                    self.stop(StopReason::Blocked(block, line));
                }
                FINAL
            }
            Signal::RateLimited(wait) => self.schedule_retry(line, Cause::RateLimit, wait, now),
            Signal::NotReached(wait) => self.schedule_retry(line, Cause::Network, wait, now),
            Signal::NoResponse => {
                Decision { retry: false, ..self.schedule_retry(line, Cause::Network, Duration::ZERO, now) }
            }
        }
    }

    /// Stops the batch. The first reason counts.
    pub(super) fn stop(&mut self, reason: StopReason) {
        self.stopped.get_or_insert(reason);
    }

    /// Ends a pause for the network after a response. A pause for a rate limit continues, because the attempt began before it.
    fn resume(&mut self) {
        if !matches!(self.mode, Mode::Paused { cause: Cause::RateLimit, .. }) {
            (self.mode, self.failures, self.waits) = (Mode::Free, 0, 0);
        }
    }

    fn schedule_retry(
        &mut self,
        line: u64,
        cause: Cause,
        at_least: Duration,
        now: MonotonicInstant,
    ) -> Decision {
        if self.stopped.is_some() {
            return FINAL;
        }
        let at_least = at_least.min(MAX_PAUSE);
        if let Mode::Paused { until, cause: paused_for } = &mut self.mode {
            // The attempt began before the pause. It adds no failure, but a longer wait counts.
            if cause == Cause::RateLimit {
                (*until, *paused_for) = ((*until).max(now + at_least), cause);
            }
            return Decision { retry: true, pause: None };
        }
        let length = match cause {
            Cause::Network => {
                self.failures = self.failures.saturating_add(1);
                NETWORK_PAUSES.get(self.failures - 1).map(|pause| at_least.max(*pause))
            }
            Cause::RateLimit => {
                self.waits = self.waits.saturating_add(1);
                (self.waits <= MAX_RATE_LIMIT_WAITS).then_some(at_least)
            }
        };
        let Some(length) = length else {
            return self.give_up(line, cause);
        };
        self.mode = Mode::Paused { until: now + length, cause };
        Decision { retry: true, pause: Some(Pause { cause, length }) }
    }

    /// Stops or continues after the last pause of a cause.
    fn give_up(&mut self, line: u64, cause: Cause) -> Decision {
        match (self.rules.on_error, cause) {
            (OnError::Stop, Cause::Network) => self.stop(StopReason::NoResponse(line)),
            (OnError::Stop, Cause::RateLimit) => self.stop(StopReason::RateLimited(line)),
            // Each line is tried once until a response arrives.
            (OnError::Continue, _) => self.mode = Mode::Free,
        }
        FINAL
    }
}

/// The result is final, and no pause begins.
const FINAL: Decision = Decision { retry: false, pause: None };

/// The line that found a reason to stop. 0 is a message of the outbox that is no line of the file.
fn at(line: u64) -> String {
    if line == 0 { String::new() } else { localized!("line {line}: ", "第 {line} 行：") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn flow(on_error: OnError) -> Flow {
        Flow::new(FlowRules { on_error, limit: None, interval: Duration::ZERO })
    }

    /// Runs one attempt after the other for lines 1, 2, 3 …, each as early as allowed. Returns the pauses in seconds.
    fn run(flow: &mut Flow, signals: &[Signal]) -> Vec<u64> {
        let mut now = MonotonicInstant::default();
        let mut pauses = Vec::new();
        for (line, signal) in (1..).zip(signals) {
            if let Next::At(at) = flow.next(now, 0) {
                now = at;
            }
            assert_eq!(flow.next(now, 0), Next::Now, "line {line}");
            flow.begin_line(now);
            let decision = flow.handle(line, *signal, now);
            pauses.extend(decision.pause.map(|pause| pause.length.as_secs()));
        }
        pauses
    }

    type Row<'a> = (&'a [Signal], &'a [u64], Option<StopReason>, Option<StopReason>);

    /// Signals, the pauses in seconds, and the reason of the stop by default and with `continue`.
    #[test]
    fn signals_lead_to_pauses_and_stop() {
        use Block::{Configuration, DailyQuota, TokenRefused};
        use Signal::{Blocked, NoResponse, NotReached, RateLimited, Responded};
        let (rate_limited, unreachable) = (RateLimited(MINUTE), NotReached(Duration::ZERO));
        let blocked = |block, line| Some(StopReason::Blocked(block, line));
        let no_response = |line| Some(StopReason::NoResponse(line));
        let eleven = [rate_limited; 11];
        let rows: [Row<'_>; 16] = [
            (&[], &[], None, None),
            (&[Responded; 9], &[], None, None),
            (&[Responded, Blocked(DailyQuota)], &[], blocked(DailyQuota, 2), blocked(DailyQuota, 2)),
            (&[Blocked(TokenRefused)], &[], blocked(TokenRefused, 1), None),
            (&[Responded, Blocked(Configuration)], &[], blocked(Configuration, 2), None),
            (&[rate_limited, Responded, rate_limited], &[60, 60], None, None),
            (&eleven[..10], &[60; 10], None, None),
            (&eleven, &[60; 10], Some(StopReason::RateLimited(11)), None),
            (&[RateLimited(7 * SECOND)], &[7], None, None),
            (&[RateLimited(3600 * SECOND)], &[300], None, None),
            (&[unreachable; 3], &[0, 2, 4], None, None),
            (&[unreachable; 4], &[0, 2, 4], no_response(4), None),
            (&[unreachable, unreachable, unreachable, Responded, unreachable], &[0, 2, 4, 0], None, None),
            (&[NotReached(9 * SECOND); 2], &[9, 9], None, None),
            (&[NoResponse, unreachable, NoResponse, unreachable], &[0, 2, 4], no_response(4), None),
            (
                &[unreachable, rate_limited, unreachable, unreachable, unreachable],
                &[0, 60, 2, 4],
                no_response(5),
                None,
            ),
        ];
        for (signals, pauses, stop, continued) in rows {
            for (on_error, expected) in [(OnError::Stop, stop), (OnError::Continue, continued)] {
                let mut flow = flow(on_error);
                let actual = run(&mut flow, signals);
                assert_eq!((actual.as_slice(), flow.stopped), (pauses, expected), "{on_error:?} {signals:?}");
            }
        }
    }

    #[test]
    fn unsent_line_is_retried_until_the_batch_stops() {
        let (rate_limited, unreachable) = (Signal::RateLimited(MINUTE), Signal::NotReached(Duration::ZERO));
        for (signal, retry) in [
            (rate_limited, true),
            (unreachable, true),
            (Signal::Responded, false),
            (Signal::NoResponse, false),
            (Signal::Blocked(Block::Configuration), false),
        ] {
            let mut flow = flow(OnError::Stop);
            assert_eq!(flow.handle(1, signal, MonotonicInstant::default()).retry, retry, "{signal:?}");
            flow.stop(StopReason::Interrupted);
            assert!(!flow.handle(2, signal, MonotonicInstant::default()).retry, "{signal:?}");
        }
    }

    #[test]
    fn continue_tries_each_line_once_until_a_response() {
        let mut flow = flow(OnError::Continue);
        let (unreachable, later) = (Signal::NotReached(Duration::ZERO), MonotonicInstant::default() + MINUTE);
        run(&mut flow, &[unreachable; 4]);
        assert_eq!(flow.handle(5, unreachable, later), FINAL);
        assert_eq!(flow.next(later, 7), Next::Now);
        flow.handle(6, Signal::Responded, later);
        assert!(flow.handle(7, unreachable, later).retry);
    }

    #[test]
    fn results_of_attempts_before_a_pause_do_not_extend_it() {
        let (now, unreachable) = (MonotonicInstant::default(), Signal::NotReached(Duration::ZERO));
        let mut flow = flow(OnError::Stop);
        for line in 1..=16 {
            assert!(flow.handle(line, unreachable, now).retry);
        }
        assert_eq!(flow.handle(17, Signal::NoResponse, now), FINAL);
        assert_eq!((flow.stopped, flow.next(now, 3)), (None, Next::AfterResults));
        // A response shows that the network works.
        flow.handle(18, Signal::Responded, now);
        assert_eq!(flow.next(now, 3), Next::Now);
    }

    #[test]
    fn earlier_response_does_not_end_a_rate_limit_pause() {
        let now = MonotonicInstant::default();
        let mut flow = flow(OnError::Stop);
        flow.handle(1, Signal::RateLimited(MINUTE), now);
        flow.handle(2, Signal::Responded, now);
        flow.handle(3, Signal::RateLimited(2 * MINUTE), now);
        assert_eq!(flow.next(now, 0), Next::At(now + 2 * MINUTE));
    }

    #[test]
    fn one_attempt_starts_after_a_pause() {
        let start = MonotonicInstant::default();
        let mut flow = flow(OnError::Stop);
        flow.handle(1, Signal::RateLimited(MINUTE), start);
        assert_eq!(flow.next(start, 1), Next::AfterResults);
        let later = start + MINUTE;
        assert_eq!(flow.next(later, 0), Next::Now);
        flow.begin_retry(later);
        assert_eq!(flow.next(later, 1), Next::AfterResults);
        flow.handle(1, Signal::Responded, later);
        assert_eq!(flow.next(later, 9), Next::Now);
    }

    #[test]
    fn no_attempt_starts_after_a_stop_and_first_reason_counts() {
        let mut flow = flow(OnError::Stop);
        flow.handle(7, Signal::Blocked(Block::DailyQuota), MonotonicInstant::default());
        flow.handle(8, Signal::Blocked(Block::TokenRefused), MonotonicInstant::default());
        flow.handle(9, Signal::Responded, MonotonicInstant::default());
        flow.stop(StopReason::Interrupted);
        assert_eq!(flow.stopped, Some(StopReason::Blocked(Block::DailyQuota, 7)));
        assert_eq!(flow.next(MonotonicInstant::default(), 0), Next::Never);
    }

    #[test]
    fn rate_and_limit_are_kept() {
        let mut flow = Flow::new(FlowRules { on_error: OnError::Stop, limit: Some(2), interval: SECOND / 4 });
        let start = MonotonicInstant::default();
        flow.begin_line(start);
        assert_eq!(flow.next(start, 1), Next::At(start + SECOND / 4));
        flow.begin_retry(start + SECOND);
        assert_eq!(flow.next(start + SECOND, 1), Next::At(start + SECOND / 4 * 5));
        assert!(!flow.is_limit_reached());
        flow.begin_line(start + 2 * SECOND);
        assert!(flow.is_limit_reached());
    }
}
