//! Sends a file of messages.
//!
//! A thread reads and checks the lines. A bounded number is in flight. The results are written in the order of the file.

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
use super::report::{Progress, Record, ResultWriter, SendSummary, Untried, WouldSend, list};
use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::input::{Input, LineReader, count_lines, unreadable};
use crate::interrupt::Interrupt;
use crate::language::{localized, shown};
use crate::line_checker::{CheckedLine, LineChecker};
use crate::output::Output;

/// Number of lines that are read ahead.
const READ_AHEAD: usize = 64;

/// A batch before its start. The file is already being read.
pub(super) struct BatchSend {
    lines: mpsc::Receiver<ReaderEvent>,
    length: Option<u64>,
    selection: LineSet,
    concurrency: usize,
    rules: FlowRules,
}

/// Event of the reading thread. The channel closes at the end of the selection.
enum ReaderEvent {
    /// A selected line that is not blank.
    Line(Box<CheckedLine>),
    /// The selected line `line` does not exist, because the input has only `lines` lines.
    Missing { line: u64, lines: u64 },
    /// The input cannot be read to its end.
    Failed(io::Error),
}

/// The end of a batch.
pub(super) struct BatchEnd<W> {
    summary: SendSummary,
    results: ResultWriter<W>,
    /// Why the batch stopped early, if it did.
    stopped: Option<StopReason>,
    /// The remaining lines: not tried, not sent, or refused because of a quota.
    rest: LineSet,
    /// The problem of the input, if any.
    input_problem: Option<ReaderEvent>,
}

/// A place in the output for a line that was started.
struct Slot {
    number: u64,
    /// Bytes read.
    read: u64,
    id: Option<Value>,
    /// The final report. It is written after the results of all earlier lines.
    report: Option<SendReport>,
}

/// Returns the first selected line that a regular file does not have, and the number of its lines.
///
/// Returns `None` for other inputs, which can be read only once.
///
/// # Errors
///
/// If the file cannot be read.
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
    /// Starts to read.
    ///
    /// All lines up to the end of the selection are checked, also unselected ones, so that duplicates of them are found.
    pub(super) fn new(input: Input, selection: LineSet, concurrency: u16, rules: FlowRules) -> Self {
        let Input { bytes, length } = input;
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        let selected = selection.clone();
        // A detached thread, so that an endless input does not block the exit of the process.
        std::thread::spawn(move || read_lines(LineReader::new(BufReader::new(bytes)), &selected, &sender));
        Self { lines, length, selection, concurrency: concurrency.into(), rules }
    }

    /// Sends the lines, and writes a result for each line that was tried.
    pub(super) async fn run<W: Write>(
        self,
        sender: &Sender,
        interrupt: &Interrupt,
        clock: &dyn Clock,
        results: ResultWriter<W>,
    ) -> BatchEnd<W> {
        let progress = Progress::new(self.length);
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

    /// Prints for each selected line whether it would be sent, up to the limit.
    pub(super) async fn dry_run(mut self, path: &Path, limit: Option<u64>) -> Result<ExitStatus, CliError> {
        let mut output = Output::new();
        let (mut valid, mut invalid, mut beyond, mut exit) = (0, 0, 0, ExitStatus::Success);
        while let Some(event) = self.lines.recv().await {
            let line = match event {
                ReaderEvent::Line(line) => line,
                ReaderEvent::Missing { line, lines } => {
                    exit = missing_line_error(line, lines).report();
                    break;
                }
                ReaderEvent::Failed(error) => return Err(unreadable(path, &error)),
            };
            match &line.message {
                Ok(_) if limit.is_some_and(|limit| valid >= limit) => beyond += 1,
                Ok(message) => {
                    valid += 1;
                    output.json(&WouldSend::new(message, Some(line.number), line.id.as_ref()));
                }
                Err(invalid_message) => {
                    invalid += 1;
                    exit = ExitStatus::Usage;
                    output.json(&Record::new(
                        invalid_message.result.clone().at_line(line.number),
                        line.id.as_ref(),
                    ));
                }
            }
        }
        let mut parts = vec![
            localized!("{valid} would be sent", "将发送 {valid}"),
            localized!("{invalid} invalid", "无效 {invalid}"),
        ];
        if beyond > 0 {
            parts.push(localized!("{beyond} beyond --limit", "超出 --limit {beyond}"));
        }
        let counts = list(&parts);
        console::note(localized!(
            "dry run: {counts}; nothing was posted",
            "试运行：{counts}；没有发出任何消息"
        ));
        Ok(output.end(exit))
    }

    /// Counts the remaining selected lines of a regular file, until the second stop signal.
    async fn count_remaining(&mut self, interrupt: &Interrupt) -> Untried {
        let mut remaining = 0;
        while self.length.is_some() {
            tokio::select! {
                biased;
                () = interrupt.forced() => break,
                event = self.lines.recv() => match event {
                    Some(ReaderEvent::Line(_)) => remaining += 1,
                    _ => return Untried::Known(remaining),
                },
            }
        }
        Untried::Unknown
    }
}

impl<W: Write> BatchEnd<W> {
    /// Prints the counts, why the batch stopped, and the command for the remaining lines. Returns the exit status.
    pub(super) fn print_summary(self, path: &Path, continuation: impl Fn(&LineSet) -> String) -> ExitStatus {
        let Self { summary, results, stopped, rest, input_problem } = self;
        let mut exit = summary.exit_status();
        match input_problem {
            // No line was tried, so there is no summary.
            Some(ReaderEvent::Failed(error)) if summary.is_empty() => {
                return unreadable(path, &error).report();
            }
            Some(ReaderEvent::Failed(error)) => {
                unreadable(path, &error).report();
            }
            Some(ReaderEvent::Missing { line, lines }) => {
                exit = exit.max(missing_line_error(line, lines).report());
            }
            Some(ReaderEvent::Line(_)) | None => {}
        }
        summary.first_descriptions().for_each(console::note);
        match summary.is_empty() && rest.is_empty() && exit == ExitStatus::Success {
            true => {
                console::note(localized!("no lines in {path}", "{path} 中没有消息", path = path.display()));
            }
            false => console::note(&summary),
        }
        if let Some(error) = &results.failed {
            let failed = match results.last_recorded {
                Some(line) => localized!(
                    "results cannot be written: {error}; the last line recorded is {line}",
                    "无法写入结果：{error}；最后写入的是第 {line} 行"
                ),
                None => localized!(
                    "results cannot be written: {error}; no line is recorded",
                    "无法写入结果：{error}；没有写入任何一行"
                ),
            };
            exit = exit.max(CliError::unexpected(failed).report());
            if results.posted_lost {
                exit = ExitStatus::MaybeSent;
            }
        }
        if !rest.is_empty() {
            exit = exit.max(ExitStatus::NotSent);
            note_continuation(stopped, &continuation(&rest));
        }
        exit
    }
}

/// Says why a batch stopped, and prints the command that goes on.
pub(super) fn note_continuation(stopped: Option<StopReason>, command: &str) {
    if let Some(reason) = stopped {
        console::note(localized!("stopped: {reason}", "已停止：{reason}"));
    }
    console::note(localized!("go on with: {command}", "继续请运行：{command}"));
}

/// The error for a selected line that the input does not have.
fn missing_line_error(line: u64, lines: u64) -> CliError {
    CliError::usage(localized!(
        "line {line} is selected, but the input has {lines}; correct --lines or --from-line",
        "选择了第 {line} 行，但输入只有 {lines} 行；请修改 --lines 或 --from-line"
    ))
}

fn read_lines(
    mut reader: LineReader<impl io::BufRead>,
    selection: &LineSet,
    sender: &mpsc::Sender<ReaderEvent>,
) {
    let mut checker = LineChecker::default();
    for line in reader.by_ref() {
        let (event, is_last) = match line {
            Err(error) => (Some(ReaderEvent::Failed(error)), true),
            Ok(line) => {
                let is_selected = selection.contains(line.number);
                let is_last = !selection.reaches_beyond(line.number);
                let checked = Box::new(checker.check(&line));
                (is_selected.then_some(ReaderEvent::Line(checked)), is_last)
            }
        };
        // The send fails after the end of the batch.
        if event.is_some_and(|event| sender.blocking_send(event).is_err()) || is_last {
            return;
        }
    }
    let lines = reader.lines_read();
    if let Some(line) = selection.first_missing(lines) {
        let _ = sender.blocking_send(ReaderEvent::Missing { line, lines });
    }
}

/// State of a running batch.
struct Run<'a, W> {
    sender: &'a Sender,
    interrupt: &'a Interrupt,
    clock: &'a dyn Clock,
    progress: Progress,
    results: ResultWriter<W>,
    flow: Flow,
    attempts: FuturesUnordered<LocalBoxFuture<'a, (u64, Message, SendReport)>>,
    /// Messages to try again by their line, with the report of their last attempt.
    retries: BTreeMap<u64, (Message, SendReport)>,
    /// One slot for each line that was started and not written yet, in order.
    slots: VecDeque<Slot>,
    summary: SendSummary,
    rest: LineSet,
}

impl<W: Write> Run<'_, W> {
    async fn process_lines(mut self, mut batch: BatchSend) -> BatchEnd<W> {
        let (mut at_end, mut input_problem) = (false, None);
        // The next line to start, and the number after the last started line.
        let (mut upcoming, mut next_line) = (None::<Box<CheckedLine>>, 1);
        loop {
            self.write_finished();
            let now = self.clock.now().mono;
            // A signal can arrive after the last look at it and before the end of an attempt.
            if self.interrupt.is_requested() {
                self.flow.stop(StopReason::Interrupted);
            }
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
            // An invalid line is not posted, so it need not wait.
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
                // Ends the wait.
                () = self.interrupt.requested(), if !stopped => {}
                Some((line, message, report)) = self.attempts.next() => self.end_attempt(line, message, report),
                () = wake(self.clock, next), if to_begin => {}
                event = batch.lines.recv(), if !stopped && !at_end && upcoming.is_none() => match event {
                    Some(ReaderEvent::Line(line)) => upcoming = Some(line),
                    Some(problem) => {
                        if matches!(problem, ReaderEvent::Failed(_)) {
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
            (_, Some(ReaderEvent::Failed(_))) => Untried::Unknown,
            (true, _) => Untried::Known(0),
            (false, _) => batch.count_remaining(self.interrupt).await,
        }
        .plus(upcoming.is_some().into());
        if self.summary.untried != Untried::Known(0) {
            self.rest.extend_from(&batch.selection, next_line);
        }
        let Self { results, flow, summary, rest, .. } = self;
        BatchEnd { summary, results, stopped: flow.stopped, rest, input_problem }
    }

    fn begin_line(&mut self, line: CheckedLine, now: MonotonicInstant) {
        let CheckedLine { number, read, id, message } = line;
        self.slots.push_back(Slot { number, read, id, report: None });
        match message {
            Ok(message) => {
                self.flow.begin_line(now);
                self.attempt(number, message);
            }
            Err(invalid) => {
                let report = SendReport::new(invalid.result, Some(shown(&invalid.problems.localized())));
                self.finish(number, report);
            }
        }
    }

    /// Starts the next retry. Returns whether there was one.
    fn begin_retry(&mut self, now: MonotonicInstant) -> bool {
        let Some((line, (message, _))) = self.retries.pop_first() else { return false };
        self.flow.begin_retry(now);
        self.attempt(line, message);
        true
    }

    fn attempt(&mut self, line: u64, message: Message) {
        let (sender, interrupt) = (self.sender, self.interrupt);
        self.attempts.push(Box::pin(async move {
            let report = deliver(sender, &message, interrupt).await;
            (line, message, report)
        }));
    }

    fn end_attempt(&mut self, line: u64, message: Message, report: SendReport) {
        let decision = self.flow.handle(line, report.signal(), self.clock.now().mono);
        if let Some(pause) = decision.pause.filter(|pause| !pause.length.is_zero()) {
            self.progress.note(localized!("line {line}: {pause}", "第 {line} 行：{pause}"));
        }
        if decision.retry {
            self.retries.insert(line, (message, report));
        } else {
            self.finish(line, report);
        }
    }

    /// Makes the last report of each retry its final result, after a stop.
    fn finish_retries(&mut self) {
        while let Some((line, (_, report))) = self.retries.pop_first() {
            self.finish(line, report);
        }
        self.write_finished();
    }

    fn finish(&mut self, line: u64, report: SendReport) {
        if let Ok(place) = self.slots.binary_search_by_key(&line, |slot| slot.number)
            && let Some(slot) = self.slots.get_mut(place)
        {
            slot.report = Some(report);
        }
    }

    /// Writes the results up to the first line without a final result.
    fn write_finished(&mut self) {
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.report.is_some()) {
            let Slot { number, read, id, report: Some(report) } = slot else { return };
            if report.can_be_continued() {
                self.rest.insert_range(number, number);
            }
            self.summary.count(number, &report, (&report.result).into());
            if let Err(text) = self.results.write(number, report.result, id.as_ref()) {
                self.flow.stop(StopReason::ResultsLost);
                self.progress.note(localized!("not recorded: {text}", "没有写入：{text}"));
            }
            self.progress.show(read, &self.summary);
        }
    }
}

/// Waits until the next attempt may begin. Never returns if only a result can decide that.
async fn wake(clock: &dyn Clock, next: Next) {
    match next {
        Next::At(at) => clock.sleep_until(at).await,
        Next::Now | Next::AfterResults | Next::Never => pending().await,
    }
}

#[cfg(test)]
mod tests;
