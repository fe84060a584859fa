//! The stop rules of a batch, for the worker of an outbox.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wxsub_core::clock::MonotonicInstant;
use wxsub_outbox::Gate;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::MessageState;

use super::durable_lines::report;
use super::flow::{Flow, FlowRules, Next, StopReason};
use crate::interrupt::Interrupt;
use crate::language::localized;

/// Lets attempts begin by the rules of [`Flow`].
#[derive(Debug)]
pub(super) struct BatchGate {
    state: Mutex<GateState>,
    interrupt: Interrupt,
    /// A note was added, or the batch has stopped.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct GateState {
    flow: Flow,
    in_flight: usize,
    /// How many attempts have ended.
    attempts: u64,
    /// The line of each message of the batch.
    lines: HashMap<MessageId, u64>,
    /// Notes for the user.
    notes: Vec<String>,
}

impl BatchGate {
    pub(super) fn new(rules: FlowRules, interrupt: Interrupt) -> Self {
        let (flow, lines, notes) = (Flow::new(rules), HashMap::new(), Vec::new());
        let state = GateState { flow, in_flight: 0, attempts: 0, lines, notes };
        Self { state: Mutex::new(state), interrupt, changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_lines(&self, lines: HashMap<MessageId, u64>) {
        self.state().lines = lines;
    }

    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().notes)
    }

    pub(super) fn stop(&self, reason: StopReason) {
        self.state().flow.stop(reason);
        self.changed.notify_one();
    }

    pub(super) fn stopped(&self) -> Option<StopReason> {
        self.state().flow.stopped
    }

    /// How many attempts have begun, and have no outcome in the ledger.
    pub(super) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    pub(super) fn attempts(&self) -> u64 {
        self.state().attempts
    }
}

impl Gate for BatchGate {
    fn take(&self, max: usize, now: MonotonicInstant) -> usize {
        let mut state = self.state();
        // The worker runs in a task of its own: it may ask before the batch has seen the signal.
        if self.interrupt.is_requested() {
            state.flow.stop(StopReason::Interrupted);
            self.changed.notify_one();
        }
        if state.flow.next(now, state.in_flight) != Next::Now {
            return 0;
        }
        let (limit, left) = (state.flow.lines_begun, state.flow.lines_left());
        if left == 0 && state.in_flight == 0 {
            state.flow.stop(StopReason::Limit(limit));
            self.changed.notify_one();
        }
        let max = if state.flow.is_free() { max } else { max.min(1) };
        let taken = max.min(usize::try_from(left).unwrap_or(usize::MAX));
        (0..taken).for_each(|_| state.flow.begin_line(now));
        state.in_flight += taken;
        taken
    }

    fn give_back(&self, unused: usize) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(unused);
        state.flow.take_back(unused as u64);
    }

    fn end_attempt(&self, settled: Option<&StoredMessage>, now: MonotonicInstant) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.attempts += 1;
        let Some(message) = settled else { return };
        if message.state == MessageState::Queued {
            // It was not posted, or does not count as posted.
            state.flow.take_back(1);
        }
        let line = state.lines.get(&message.id).copied();
        let decision = state.flow.handle(line.unwrap_or_default(), report(message).signal(), now);
        if let Some(pause) = decision.pause.filter(|pause| !pause.length.is_zero()) {
            state.notes.push(match line {
                Some(line) => localized!("line {line}: {pause}", "第 {line} 行：{pause}"),
                None => localized!("message {id}: {pause}", "消息 {id}：{pause}", id = message.id),
            });
        }
        self.changed.notify_one();
    }

    fn next_at(&self) -> Option<MonotonicInstant> {
        let state = self.state();
        match state.flow.next(MonotonicInstant::default(), state.in_flight) {
            _ if state.flow.is_limit_reached() => None,
            Next::At(at) => Some(at),
            Next::Now => Some(MonotonicInstant::default()),
            Next::AfterResults | Next::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::command::send::flow::OnError;

    #[test]
    fn a_signal_during_an_attempt_lets_no_other_one_begin() {
        let (signal, interrupt) = Interrupt::by_hand();
        let rules = FlowRules { on_error: OnError::Stop, limit: None, interval: Duration::ZERO };
        let (gate, now) = (BatchGate::new(rules, interrupt), MonotonicInstant::default());
        assert_eq!(gate.take(2, now), 2);
        gate.end_attempt(None, now);
        assert_eq!(gate.take(1, now), 1);
        signal();
        gate.end_attempt(None, now);
        assert_eq!((gate.take(2, now), gate.stopped()), (0, Some(StopReason::Interrupted)));
    }
}
