//! Many messages: lines are read and checked in a thread of their own, sent a bounded number at a time, and reported in
//! the order of the file.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::future::pending;
use std::io::{self, BufReader, Write};
use std::path::Path;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::mpsc;
use wxsub_core::clock::{Clock, MonotonicInstant};
use wxsub_proto::Message;

use super::deliver::{SendReport, Sender, deliver};
use super::flow::{Flow, FlowRules, Next, StopReason};
use super::line_set::LineSet;
use super::progress::Progress;
use super::results::ResultWriter;
use super::summary::{SendSummary, Untried};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::line_checker::{CheckedLine, LineChecker};
use crate::line_reader::{LineReader, count_lines};

/// How many lines are read ahead of those in flight.
const READ_AHEAD: usize = 64;

/// A file of messages that is being read.
pub(super) struct BatchSend {
    lines: mpsc::Receiver<Read>,
    length: Option<u64>,
    selection: LineSet,
    concurrency: usize,
    rules: FlowRules,
}

/// What the reading thread has found. It ends without a word at the end of the selection.
pub(super) enum Read {
    /// A selected line that is not blank.
    Line(Box<CheckedLine>),
    /// The input has only so many lines, but this one was selected.
    Missing { line: u64, lines: u64 },
    /// The input cannot be read further.
    Failed(io::Error),
}

/// How a batch ended.
pub(super) struct BatchEnd<W> {
    pub(super) summary: SendSummary,
    pub(super) results: ResultWriter<W>,
    /// Why it stopped, if it did.
    pub(super) stopped: Option<StopReason>,
    /// The lines to go on with: not tried, not sent, or refused over a quota.
    pub(super) rest: LineSet,
    /// What was wrong with the input.
    pub(super) input_problem: Option<Read>,
}

/// A valid line until its result is final.
struct QueuedLine {
    number: u64,
    read: u64,
    id: Option<Value>,
    message: Message,
}

/// A line whose place in the output is held.
struct Slot {
    number: u64,
    /// What is written once all lines before it are.
    finished: Option<(u64, Option<Value>, SendReport)>,
}

/// Names the first selected line that a regular file does not have, and how many it has. Other inputs can be read once
/// only, so nothing is known of them.
pub(super) fn missing_line(
    path: &Path,
    input: &Input,
    selection: &LineSet,
) -> io::Result<Option<(u64, u64)>> {
    if input.length.is_none() {
        return Ok(None);
    }
    let lines = count_lines(BufReader::new(File::open(path)?))?;
    Ok(selection.first_missing(lines).map(|line| (line, lines)))
}

impl BatchSend {
    /// Starts to read. All lines before the end of the selection are checked, so that a selected duplicate of a line that
    /// is not selected is found too.
    pub(super) fn new(input: Input, selection: LineSet, concurrency: u16, rules: FlowRules) -> Self {
        let Input { bytes, length } = input;
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        let wanted = selection.clone();
        // A thread of its own: an input that never ends does not keep the process from ending.
        std::thread::spawn(move || read_lines(LineReader::new(BufReader::new(bytes)), &wanted, &sender));
        Self { lines, length, selection, concurrency: concurrency.into(), rules }
    }

    /// Sends the lines and writes a result for each that was tried.
    pub(super) async fn run<W: Write>(
        self,
        sender: &Sender,
        interrupt: &Interrupt,
        clock: &dyn Clock,
        results: ResultWriter<W>,
    ) -> BatchEnd<W> {
        let progress = Progress::over(self.length);
        let run = Run {
            sender,
            interrupt,
            clock,
            progress,
            results,
            flow: Flow::new(self.rules),
            attempts: FuturesUnordered::new(),
            retries: BTreeMap::new(),
            slots: VecDeque::new(),
            summary: SendSummary::default(),
            rest: LineSet::default(),
        };
        run.process_lines(self).await
    }

    /// The next line, for a dry run.
    pub(super) async fn next(&mut self) -> Option<Read> {
        self.lines.recv().await
    }

    /// How many selected lines are left, where the input is known to end.
    async fn count_left(&mut self) -> Untried {
        if self.length.is_none() {
            return Untried::Unknown;
        }
        let mut left = 0;
        while let Some(Read::Line(_)) = self.lines.recv().await {
            left += 1;
        }
        Untried::Known(left)
    }
}

fn read_lines(mut reader: LineReader<impl io::BufRead>, wanted: &LineSet, sender: &mpsc::Sender<Read>) {
    let mut checker = LineChecker::default();
    for line in reader.by_ref() {
        let (read, last) = match line {
            Err(error) => (Some(Read::Failed(error)), true),
            Ok(line) => {
                let (selected, more) = (wanted.contains(line.number), wanted.reaches_beyond(line.number));
                let checked = Box::new(checker.check(&line));
                (selected.then_some(Read::Line(checked)), !more)
            }
        };
        // Sending fails when the batch has ended.
        if read.is_some_and(|read| sender.blocking_send(read).is_err()) || last {
            return;
        }
    }
    let lines = reader.lines_read();
    if let Some(line) = wanted.first_missing(lines) {
        let _ = sender.blocking_send(Read::Missing { line, lines });
    }
}

/// A batch on its way.
struct Run<'a, W> {
    sender: &'a Sender,
    interrupt: &'a Interrupt,
    clock: &'a dyn Clock,
    progress: Progress,
    results: ResultWriter<W>,
    flow: Flow,
    attempts: FuturesUnordered<LocalBoxFuture<'a, (QueuedLine, SendReport)>>,
    /// Lines to be tried again, with the report of their last attempt.
    retries: BTreeMap<u64, (QueuedLine, SendReport)>,
    /// One for each line that was begun and is not written yet, in their order.
    slots: VecDeque<Slot>,
    summary: SendSummary,
    rest: LineSet,
}

impl<W: Write> Run<'_, W> {
    async fn process_lines(mut self, mut batch: BatchSend) -> BatchEnd<W> {
        let (mut at_end, mut input_problem) = (false, None);
        // The line that is begun next, and the number after the last one that was begun.
        let (mut upcoming, mut next_line) = (None::<Box<CheckedLine>>, 1);
        loop {
            self.write_finished();
            let now = self.clock.now().mono;
            if upcoming.as_ref().is_some_and(|line| line.message.is_ok()) && self.flow.is_limit_reached() {
                self.flow.stop(StopReason::Limit(batch.rules.limit.unwrap_or_default()));
            }
            let next = self.flow.next(now, self.attempts.len());
            match next {
                Next::Never => self.finish_retries(),
                Next::Now if self.begin_retry(now) => continue,
                Next::Now | Next::At(_) | Next::AfterResults => {}
            }
            let (stopped, has_room) = (next == Next::Never, self.slots.len() < batch.concurrency);
            // A line that is invalid is not posted, so it waits for nothing.
            let may_begin =
                |line: &mut Box<CheckedLine>| !stopped && (next == Next::Now || line.message.is_err());
            if has_room && let Some(line) = upcoming.take_if(may_begin) {
                next_line = line.number.saturating_add(1);
                self.begin_line(*line, now);
                continue;
            }
            let to_begin = upcoming.is_some() && has_room || !self.retries.is_empty();
            if self.slots.is_empty() && (stopped || at_end && upcoming.is_none()) {
                break;
            }
            tokio::select! {
                biased;
                // First, so that no line is begun in the place of one that has just ended.
                () = self.interrupt.requested(), if !stopped => self.flow.stop(StopReason::Interrupted),
                Some((line, report)) = self.attempts.next() => self.end_attempt(line, report),
                () = wake(self.clock, next), if to_begin => {}
                read = batch.lines.recv(), if !stopped && !at_end && upcoming.is_none() => match read {
                    Some(Read::Line(line)) => upcoming = Some(line),
                    Some(problem) => {
                        if matches!(problem, Read::Failed(_)) {
                            self.flow.stop(StopReason::Unreadable);
                        }
                        (at_end, input_problem) = (true, Some(problem));
                    }
                    None => at_end = true,
                },
                else => break,
            }
        }
        self.summary.untried = match (at_end, &input_problem) {
            (_, Some(Read::Failed(_))) => Untried::Unknown,
            (true, _) => Untried::Known(0),
            (false, _) => batch.count_left().await,
        }
        .plus(upcoming.is_some().into());
        if self.summary.untried != Untried::Known(0) {
            self.rest.extend_from(&batch.selection, next_line);
        }
        let Self { results, flow, summary, rest, .. } = self;
        BatchEnd { summary, results, stopped: flow.stopped(), rest, input_problem }
    }

    fn begin_line(&mut self, line: CheckedLine, now: MonotonicInstant) {
        let CheckedLine { number, read, id, message } = line;
        self.slots.push_back(Slot { number, finished: None });
        match message {
            Ok(message) => {
                self.flow.begin_line(now);
                self.attempt(QueuedLine { number, read, id, message });
            }
            Err(invalid) => {
                let report = SendReport::new(invalid.result(), Some(invalid.problems.to_string()));
                self.finish(number, read, id, report);
            }
        }
    }

    /// Whether there was a line to be tried again.
    fn begin_retry(&mut self, now: MonotonicInstant) -> bool {
        let Some((_, (line, _))) = self.retries.pop_first() else { return false };
        self.flow.begin_retry(now);
        self.attempt(line);
        true
    }

    fn attempt(&mut self, line: QueuedLine) {
        let (sender, interrupt) = (self.sender, self.interrupt);
        self.attempts.push(Box::pin(async move {
            let report = deliver(sender, &line.message, interrupt).await;
            (line, report)
        }));
    }

    fn end_attempt(&mut self, line: QueuedLine, report: SendReport) {
        let decision = self.flow.handle(line.number, report.signal(), self.clock.now().mono);
        if let Some(pause) = decision.pause.filter(|pause| !pause.length.is_zero()) {
            self.progress.note(format_args!("line {}: {pause}", line.number));
        }
        if decision.retry {
            self.retries.insert(line.number, (line, report));
        } else {
            self.finish(line.number, line.read, line.id, report);
        }
    }

    /// After a stop the last report of a line is its result.
    fn finish_retries(&mut self) {
        while let Some((_, (line, report))) = self.retries.pop_first() {
            self.finish(line.number, line.read, line.id, report);
        }
        self.write_finished();
    }

    fn finish(&mut self, number: u64, read: u64, id: Option<Value>, report: SendReport) {
        if let Ok(place) = self.slots.binary_search_by_key(&number, |slot| slot.number)
            && let Some(slot) = self.slots.get_mut(place)
        {
            slot.finished = Some((read, id, report));
        }
    }

    /// Writes the results before which none is missing.
    fn write_finished(&mut self) {
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.finished.is_some()) {
            let Some((read, id, report)) = slot.finished else { return };
            if report.may_go_on() {
                self.rest.insert(slot.number);
            }
            self.summary.count(slot.number, &report);
            if let Err(lost) = self.results.write(slot.number, report.result, id.as_ref()) {
                self.flow.stop(StopReason::ResultsLost);
                self.progress.note(format_args!("not recorded: {lost}"));
            }
            self.progress.show(read, &self.summary);
        }
    }
}

/// Waits until the next attempt may begin; for ever where only a result can tell.
async fn wake(clock: &dyn Clock, next: Next) {
    match next {
        Next::At(at) => clock.sleep_until(at).await,
        Next::Now | Next::AfterResults | Next::Never => pending().await,
    }
}

#[cfg(test)]
mod tests;
