//! When a batch begins the next attempt, and when it stops. Pure: results and the time go in, decisions come out.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use wxsub_core::clock::MonotonicInstant;

/// The pauses before a line is tried after 1, 2 and 3 failures in a row without an answer; one more failure stops the batch.
const NETWORK_PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(4)];

/// How many waits in a row for a rate limit are made without one message that passes it.
const MAX_RATE_LIMIT_WAITS: usize = 10;

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// What to do when further lines would most likely fail too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnError {
    /// Begin no further line
    Stop,
    /// Try every line once; only a used-up daily quota (45009) stops
    Continue,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowRules {
    pub(super) on_error: OnError,
    /// How many lines may be posted.
    pub(super) limit: Option<u64>,
    /// The time from one attempt to the next.
    pub(super) interval: Duration,
}

/// What the end of one attempt says about the lines that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Weixin answered, about this line alone.
    Answered,
    /// Too many calls: the line was not sent, and can be tried again after this time.
    RateLimited(Duration),
    /// The line was certainly not sent, because nothing answered; not before this time is another try of use.
    NotReached(Duration),
    /// The line was posted, and no answer came that can be read.
    NoAnswer,
    /// No line can be sent before something has changed.
    Blocked(Block),
}

/// What has to change before any line can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// 45009: the calls of this day are used up.
    DailyQuota,
    /// Weixin refused to issue an access token.
    TokenRefused,
    /// The configuration, here or in Weixin's console.
    Configuration,
}

/// Why no further line is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// This line met a block.
    Blocked(Block, u64),
    /// Nothing answered several tries in a row, the last of them for this line.
    NoAnswer(u64),
    /// This line met a rate limit that several waits did not lift.
    RateLimited(u64),
    /// As many lines were posted as the user allowed.
    Limit(u64),
    /// The user asked to stop, or the terminal was closed.
    Interrupted,
    /// A result could not be written.
    ResultsLost,
    /// The input could not be read further.
    Unreadable,
}

/// When the next attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    At(MonotonicInstant),
    /// Once the attempts in flight have ended.
    AfterResults,
    /// The batch has stopped.
    Never,
}

/// What becomes of the line whose attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    /// Whether the line is tried again. Otherwise its result is final.
    pub(super) retry: bool,
    /// The pause that begins, if one does.
    pub(super) pause: Option<Pause>,
}

/// A pause in which no attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) cause: Cause,
    pub(super) length: Duration,
}

/// Why a pause is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    RateLimit,
    Network,
}

/// How freely attempts begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As many as may be in flight.
    Free,
    /// None before this time, and then one.
    Paused { until: MonotonicInstant, cause: Cause },
    /// One after a pause is in flight. Its end decides how to go on.
    Probing,
}

/// The state machine of a batch.
#[derive(Debug)]
pub(super) struct Flow {
    rules: FlowRules,
    mode: Mode,
    /// The earliest time of the next attempt by the rate.
    next_attempt: MonotonicInstant,
    lines_begun: u64,
    /// Failures in a row without an answer.
    failures: usize,
    /// Waits in a row for a rate limit.
    waits: usize,
    stopped: Option<StopReason>,
}

impl Flow {
    pub(super) fn new(rules: FlowRules) -> Self {
        let next_attempt = MonotonicInstant::default();
        Self { rules, mode: Mode::Free, next_attempt, lines_begun: 0, failures: 0, waits: 0, stopped: None }
    }

    /// When the next attempt may begin, while this many are in flight.
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

    /// Whether as many lines were posted as the user allowed.
    pub(super) fn is_limit_reached(&self) -> bool {
        self.rules.limit.is_some_and(|limit| self.lines_begun >= limit)
    }

    /// The first attempt for a line begins.
    pub(super) fn begin_line(&mut self, now: MonotonicInstant) {
        self.lines_begun += 1;
        self.begin_retry(now);
    }

    /// Another attempt for a line begins.
    pub(super) fn begin_retry(&mut self, now: MonotonicInstant) {
        self.next_attempt = now.after(self.rules.interval);
        if matches!(self.mode, Mode::Paused { .. }) {
            self.mode = Mode::Probing;
        }
    }

    /// An attempt for this line has ended.
    pub(super) fn handle(&mut self, line: u64, signal: Signal, now: MonotonicInstant) -> Decision {
        match signal {
            Signal::Answered => {
                self.resume();
                FINAL
            }
            Signal::Blocked(block) => {
                if block == Block::DailyQuota || self.rules.on_error == OnError::Stop {
                    self.stop(StopReason::Blocked(block, line));
                }
                FINAL
            }
            Signal::RateLimited(wait) => self.set_back(line, Cause::RateLimit, wait, now),
            Signal::NotReached(wait) => self.set_back(line, Cause::Network, wait, now),
            Signal::NoAnswer => {
                Decision { retry: false, ..self.set_back(line, Cause::Network, Duration::ZERO, now) }
            }
        }
    }

    /// Begins no further attempt. The first reason counts.
    pub(super) fn stop(&mut self, reason: StopReason) {
        self.stopped.get_or_insert(reason);
    }

    /// Why no further line is begun.
    pub(super) fn stopped(&self) -> Option<StopReason> {
        self.stopped
    }

    /// An answer ends the pause for the network. The pause for a rate limit goes on: the attempt began before it.
    fn resume(&mut self) {
        if !matches!(self.mode, Mode::Paused { cause: Cause::RateLimit, .. }) {
            (self.mode, self.failures, self.waits) = (Mode::Free, 0, 0);
        }
    }

    fn set_back(&mut self, line: u64, cause: Cause, at_least: Duration, now: MonotonicInstant) -> Decision {
        if self.stopped.is_some() {
            return FINAL;
        }
        let at_least = at_least.min(MAX_PAUSE);
        if let Mode::Paused { until, cause: paused_for } = &mut self.mode {
            // The attempt began before the pause. It adds no failure, but a longer wait counts.
            if cause == Cause::RateLimit {
                (*until, *paused_for) = ((*until).max(now.after(at_least)), cause);
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
        self.mode = Mode::Paused { until: now.after(length), cause };
        Decision { retry: true, pause: Some(Pause { cause, length }) }
    }

    /// Waiting was of no use.
    fn give_up(&mut self, line: u64, cause: Cause) -> Decision {
        match (self.rules.on_error, cause) {
            (OnError::Stop, Cause::Network) => self.stop(StopReason::NoAnswer(line)),
            (OnError::Stop, Cause::RateLimit) => self.stop(StopReason::RateLimited(line)),
            // Until something answers, each further line is tried once.
            (OnError::Continue, _) => self.mode = Mode::Free,
        }
        FINAL
    }
}

/// The result is final, and no pause begins.
const FINAL: Decision = Decision { retry: false, pause: None };

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(Block::DailyQuota, line) => write!(
                f,
                "line {line}: errcode 45009, the daily quota is used up; go on after midnight, Beijing time"
            ),
            Self::Blocked(Block::TokenRefused, line) => {
                write!(f, "line {line}: Weixin refused the access token")
            }
            Self::Blocked(Block::Configuration, line) => {
                write!(f, "line {line}: the configuration must be corrected first")
            }
            Self::NoAnswer(line) => {
                write!(f, "line {line}: {} tries in a row brought no answer", NETWORK_PAUSES.len() + 1)
            }
            Self::RateLimited(line) => {
                write!(f, "line {line}: still too many calls after {MAX_RATE_LIMIT_WAITS} waits")
            }
            Self::Limit(lines) => write!(f, "{lines} lines posted, as many as --limit allows"),
            Self::Interrupted => f.write_str("a signal asked for it"),
            Self::ResultsLost => f.write_str("a result could not be written"),
            Self::Unreadable => f.write_str("the file could not be read further"),
        }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause {
            Cause::RateLimit => "too many calls",
            Cause::Network => "no answer",
        };
        write!(f, "{cause}; waiting {} s before the next try", self.length.as_millis().div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn flow(on_error: OnError) -> Flow {
        Flow::new(FlowRules { on_error, limit: None, interval: Duration::ZERO })
    }

    /// Ends one attempt after the other, each as soon as it may begin, for lines 1, 2, 3 … Gives the pauses in seconds.
    fn play(flow: &mut Flow, signals: &[Signal]) -> Vec<u64> {
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

    /// What each run of results leads to: the pauses in seconds, and why it stops, by default and with `continue`.
    #[test]
    fn each_run_of_results_has_its_pauses_and_its_stop() {
        use Block::{Configuration, DailyQuota, TokenRefused};
        use Signal::{Answered, Blocked, NoAnswer, NotReached, RateLimited};
        let (limited, gone) = (RateLimited(MINUTE), NotReached(Duration::ZERO));
        let blocked = |block, line| Some(StopReason::Blocked(block, line));
        let no_answer = |line| Some(StopReason::NoAnswer(line));
        let eleven = [limited; 11];
        let rows: [Row<'_>; 16] = [
            (&[], &[], None, None),
            (&[Answered; 9], &[], None, None),
            (&[Answered, Blocked(DailyQuota)], &[], blocked(DailyQuota, 2), blocked(DailyQuota, 2)),
            (&[Blocked(TokenRefused)], &[], blocked(TokenRefused, 1), None),
            (&[Answered, Blocked(Configuration)], &[], blocked(Configuration, 2), None),
            (&[limited, Answered, limited], &[60, 60], None, None),
            (&eleven[..10], &[60; 10], None, None),
            (&eleven, &[60; 10], Some(StopReason::RateLimited(11)), None),
            (&[RateLimited(7 * SECOND)], &[7], None, None),
            (&[RateLimited(3600 * SECOND)], &[300], None, None),
            (&[gone; 3], &[0, 2, 4], None, None),
            (&[gone; 4], &[0, 2, 4], no_answer(4), None),
            (&[gone, gone, gone, Answered, gone], &[0, 2, 4, 0], None, None),
            (&[NotReached(9 * SECOND); 2], &[9, 9], None, None),
            (&[NoAnswer, gone, NoAnswer, gone], &[0, 2, 4], no_answer(4), None),
            (&[gone, limited, gone, gone, gone], &[0, 60, 2, 4], no_answer(5), None),
        ];
        for (signals, pauses, stop, continued) in rows {
            for (on_error, expected) in [(OnError::Stop, stop), (OnError::Continue, continued)] {
                let mut flow = flow(on_error);
                let met = play(&mut flow, signals);
                assert_eq!((met.as_slice(), flow.stopped()), (pauses, expected), "{on_error:?} {signals:?}");
            }
        }
    }

    #[test]
    fn what_was_certainly_not_sent_is_tried_again_until_the_batch_stops() {
        let (limited, gone) = (Signal::RateLimited(MINUTE), Signal::NotReached(Duration::ZERO));
        for (signal, retry) in [
            (limited, true),
            (gone, true),
            (Signal::Answered, false),
            (Signal::NoAnswer, false),
            (Signal::Blocked(Block::Configuration), false),
        ] {
            let mut flow = flow(OnError::Stop);
            assert_eq!(flow.handle(1, signal, MonotonicInstant::default()).retry, retry, "{signal:?}");
            flow.stop(StopReason::Interrupted);
            assert!(!flow.handle(2, signal, MonotonicInstant::default()).retry, "{signal:?}");
        }
    }

    #[test]
    fn with_continue_each_line_is_tried_once_until_something_answers() {
        let mut flow = flow(OnError::Continue);
        let (gone, later) = (Signal::NotReached(Duration::ZERO), MonotonicInstant::default().after(MINUTE));
        play(&mut flow, &[gone; 4]);
        assert_eq!(flow.handle(5, gone, later), FINAL);
        assert_eq!(flow.next(later, 7), Next::Now);
        flow.handle(6, Signal::Answered, later);
        assert!(flow.handle(7, gone, later).retry);
    }

    #[test]
    fn results_of_attempts_from_before_a_pause_do_not_add_to_it() {
        let (now, gone) = (MonotonicInstant::default(), Signal::NotReached(Duration::ZERO));
        let mut flow = flow(OnError::Stop);
        for line in 1..=16 {
            assert!(flow.handle(line, gone, now).retry);
        }
        assert_eq!(flow.handle(17, Signal::NoAnswer, now), FINAL);
        assert_eq!((flow.stopped(), flow.next(now, 3)), (None, Next::AfterResults));
        // One of them was answered, so the network is there.
        flow.handle(18, Signal::Answered, now);
        assert_eq!(flow.next(now, 3), Next::Now);
    }

    #[test]
    fn an_answer_from_before_does_not_end_the_wait_for_a_rate_limit() {
        let now = MonotonicInstant::default();
        let mut flow = flow(OnError::Stop);
        flow.handle(1, Signal::RateLimited(MINUTE), now);
        flow.handle(2, Signal::Answered, now);
        flow.handle(3, Signal::RateLimited(2 * MINUTE), now);
        assert_eq!(flow.next(now, 0), Next::At(now.after(2 * MINUTE)));
    }

    #[test]
    fn after_a_pause_one_attempt_goes_ahead() {
        let start = MonotonicInstant::default();
        let mut flow = flow(OnError::Stop);
        flow.handle(1, Signal::RateLimited(MINUTE), start);
        assert_eq!(flow.next(start, 1), Next::AfterResults);
        let later = start.after(MINUTE);
        assert_eq!(flow.next(later, 0), Next::Now);
        flow.begin_retry(later);
        assert_eq!(flow.next(later, 1), Next::AfterResults);
        flow.handle(1, Signal::Answered, later);
        assert_eq!(flow.next(later, 9), Next::Now);
    }

    #[test]
    fn after_a_stop_nothing_begins_and_the_first_reason_counts() {
        let mut flow = flow(OnError::Stop);
        flow.handle(7, Signal::Blocked(Block::DailyQuota), MonotonicInstant::default());
        flow.handle(8, Signal::Blocked(Block::TokenRefused), MonotonicInstant::default());
        flow.handle(9, Signal::Answered, MonotonicInstant::default());
        flow.stop(StopReason::Interrupted);
        assert_eq!(flow.stopped(), Some(StopReason::Blocked(Block::DailyQuota, 7)));
        assert_eq!(flow.next(MonotonicInstant::default(), 0), Next::Never);
    }

    #[test]
    fn attempts_keep_the_rate_and_lines_the_limit() {
        let mut flow = Flow::new(FlowRules { on_error: OnError::Stop, limit: Some(2), interval: SECOND / 4 });
        let start = MonotonicInstant::default();
        flow.begin_line(start);
        assert_eq!(flow.next(start, 1), Next::At(start.after(SECOND / 4)));
        flow.begin_retry(start.after(SECOND));
        assert_eq!(flow.next(start.after(SECOND), 1), Next::At(start.after(SECOND / 4 * 5)));
        assert!(!flow.is_limit_reached());
        flow.begin_line(start.after(2 * SECOND));
        assert!(flow.is_limit_reached());
    }
}
