//! The durable batch: records every line in a ledger before anything is sent. Run again, it goes on.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::oneshot;
use wxsub_core::clock::{Clock, SystemClock, UnixMillis};
use wxsub_core::rfc3339;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Change, Gone, NotRecorded};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::{MessageState, WaitingFor};
use wxsub_outbox::{LedgerFailure, Outbox, OutboxError};
use wxsub_proto::AppId;

use super::batch::note_continuation;
use super::batch_gate::BatchGate;
use super::deliver::SendReport;
use super::durable_lines::{Content, DurableLine, invalid_line, key_reused, read_lines, report, unreadable};
use super::flow::StopReason;
use super::report::{Progress, ResultWriter, SendSummary, list};
use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::language::{localized, shown};
use crate::ledger_file::postgres_url;
use crate::shell::flag;

/// How many lines are recorded at once. The ledger commits them together.
const RECORDED_AT_ONCE: usize = 256;

/// How many messages are read at once, each by its id. In a database, one after the other would take too long.
const MAX_READS: usize = 64;

/// After so many failed commits in a row the batch stops. The worker repeats a failed commit every second.
const MAX_LEDGER_FAILURES: u32 = 20;

/// Lines have no `send_at`, and wait less than this between attempts. A line that is due later was recorded by another clock.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// How often the batch looks whether commits fail.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A durable batch before its start.
pub(super) struct DurableBatch<'a> {
    pub(super) name: &'a str,
    pub(super) appid: &'a AppId,
    pub(super) outbox: &'a Outbox,
    pub(super) gate: &'a BatchGate,
    /// The path of the ledger.
    pub(super) ledger: &'a Path,
}

/// A recorded line.
struct Entry {
    number: u64,
    id: Option<Value>,
    state: EntryState,
}

enum EntryState {
    /// Its message is queued, or being posted.
    Waiting,
    /// Its result is not written yet.
    Ended(Box<SendReport>),
    Written,
}

/// A line whose message may have been sent, and has no decision.
struct UnknownLine {
    number: u64,
    id: Option<Value>,
    message: StoredMessage,
}

/// The lines, and what has become of them.
pub(super) struct DurableRun<W> {
    entries: Vec<Entry>,
    /// The first entry whose result is not written.
    head: usize,
    waiting: HashMap<MessageId, usize>,
    /// When the first of them is due.
    next_due: Option<UnixMillis>,
    /// How many of them are attempts that the ledger could not end, as far as it can be read.
    unsettled: usize,
    /// Whether commits failed when it was last looked at.
    ledger_fails: bool,
    unknown: Vec<UnknownLine>,
    summary: SendSummary,
    results: ResultWriter<W>,
    progress: Progress,
    /// Whether all lines of the file are recorded.
    is_complete: bool,
    /// How many lines had ended before this run.
    ended_before: usize,
}

impl DurableBatch<'_> {
    /// Records the lines, sends what is queued, and writes the result of each line that has ended.
    pub(super) async fn run<W: Write>(
        &self,
        path: &Path,
        input: Input,
        interrupt: &Interrupt,
        results: ResultWriter<W>,
    ) -> Result<DurableRun<W>, CliError> {
        let mut run = DurableRun::new(results);
        self.record_lines(path, input, interrupt, &mut run).await?;
        run.progress = Progress::of_lines(run.entries.len() as u64, run.ended());
        run.write_ended(self.gate);
        if !run.waiting.is_empty() && self.gate.stopped().is_none() {
            self.stop_if_paused().await?;
        }
        if let Some(due) = run.next_due.filter(|due| *due > SystemClock::new().now().wall + MAX_WAIT) {
            console::warning(localized!(
                "no line is due before {due}; check the clock of this machine",
                "{due} 之前没有可发送的行；请检查本机时间",
                due = rfc3339::format(due)
            ));
        }
        if !run.waiting.is_empty() && self.gate.stopped().is_none() {
            self.send_lines(interrupt, &mut run).await?;
        }
        run.write_rest(self.gate);
        Ok(run)
    }

    async fn record_lines<W: Write>(
        &self,
        path: &Path,
        input: Input,
        interrupt: &Interrupt,
        run: &mut DurableRun<W>,
    ) -> Result<(), CliError> {
        let lines = stream::unfold(read_lines(input), |mut lines| async {
            let line = lines.recv().await?;
            Some((line, lines))
        });
        let recorded = lines.map(async |line| match line {
            Ok(line) => Ok(self.record(line).await),
            Err(error) => Err(error),
        });
        let mut recorded = pin!(recorded.buffered(RECORDED_AT_ONCE));
        loop {
            let next = tokio::select! {
                biased;
                () = interrupt.requested() => {
                    self.gate.stop(StopReason::Interrupted);
                    return Ok(());
                }
                next = recorded.next() => next,
            };
            match next {
                None => break,
                Some(Err(error)) => return Err(unreadable(path, &error, run.entries.len())),
                Some(Ok((number, id, recorded))) => match recorded {
                    Ok(recorded) => run.add(number, id, recorded),
                    Err(error) => {
                        console::error(localized!(
                            "line {number} was not recorded; nothing was posted; run the command again",
                            "第 {number} 行没有登记；没有发出任何消息；请重新运行该命令"
                        ));
                        return Err(CliError::from(error).before_sending());
                    }
                },
            }
        }
        run.is_complete = true;
        Ok(())
    }

    async fn record(&self, line: DurableLine) -> (u64, Option<Value>, Result<Recorded, OutboxError>) {
        let DurableLine { number, id, key, content } = line;
        let batch = self.outbox.batch(self.name);
        let (receipt, report) = match content {
            Content::RepeatedId(report) => return (number, id, Ok(Recorded::Rejected(Box::new(report)))),
            Content::Message(message) => match batch.enqueue(key, message.clone()).await {
                Err(OutboxError::NotRecorded(NotRecorded::KeyReused(earlier))) => {
                    let report = key_reused(&message, earlier);
                    return (number, id, Ok(Recorded::Rejected(Box::new(report))));
                }
                receipt => (receipt, None),
            },
            Content::Invalid { text, invalid } => {
                let receipt = batch.record_invalid(key, &text, invalid_line(&invalid)).await;
                let report = SendReport::new(invalid.result, Some(shown(&invalid.problems.localized())));
                if let Err(OutboxError::NotRecorded(NotRecorded::KeyReused(_))) = &receipt {
                    return (number, id, Ok(Recorded::Rejected(Box::new(report))));
                }
                (receipt, Some(Box::new(report)))
            }
        };
        let recorded = match receipt {
            Ok(receipt) => self.last_of_chain(receipt.message().clone()).await.map(|message| {
                let was_known = receipt.replayed();
                Recorded::Message { message: Box::new(message), report, was_known }
            }),
            Err(error) => Err(error),
        };
        (number, id, recorded)
    }

    /// The message that was sent in its place, if one was.
    async fn last_of_chain(&self, mut message: StoredMessage) -> Result<StoredMessage, OutboxError> {
        while let Some(child) = message.decision.as_ref().and_then(|decided| decided.child) {
            let Some(next) = self.outbox.ledger().message(child).await? else { break };
            message = next;
        }
        Ok(message)
    }

    /// Stops if nothing can be posted for long.
    async fn stop_if_paused(&self) -> Result<(), CliError> {
        let app = self.outbox.ledger().app(self.appid).await?;
        let now = SystemClock::new().now().wall;
        match app.pauses.waiting_for(now) {
            Some(WaitingFor::Paused) => self.gate.stop(StopReason::Paused),
            Some(WaitingFor::Quota) if app.pauses.claimable(1, now) == 0 => {
                self.gate.stop(StopReason::DailyQuotaBefore);
            }
            _ => {}
        }
        Ok(())
    }

    /// Runs the worker of the outbox until all lines have ended or the batch stops.
    async fn send_lines<W: Write>(
        &self,
        interrupt: &Interrupt,
        run: &mut DurableRun<W>,
    ) -> Result<(), CliError> {
        self.gate.set_lines(run.waiting_lines());
        let mut outcomes = self.outbox.outcomes();
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = self.outbox.clone();
        let mut working = tokio::spawn(async move { worker.run(async { drop(stopped.await) }).await });
        let clock = SystemClock::new();
        while !run.waiting.is_empty() && self.gate.stopped().is_none() {
            let next_look = clock.now().mono + LOOK_INTERVAL;
            tokio::select! {
                biased;
                () = interrupt.requested() => self.gate.stop(StopReason::Interrupted),
                outcome = outcomes.next() => match outcome {
                    Ok(message) => run.end(message, None),
                    Err(_) if self.read_waiting(run).await => {}
                    Err(_) => break,
                },
                () = self.gate.changed.notified() => {}
                () = clock.sleep_until(next_look) => run.watch_ledger(self.outbox.ledger_failure(), self.gate),
                _ = &mut working => {
                    let text = localized!("the worker of the outbox has ended", "worker 已结束");
                    return Err(CliError::unexpected(text));
                }
            }
            self.gate.take_notes().iter().for_each(|note| run.progress.note(note));
            run.write_ended(self.gate);
        }
        drop(stop);
        tokio::select! {
            biased;
            _ = &mut working => {}
            () = interrupt.forced() => {
                working.abort();
                let _ = working.await;
            }
        }
        // What was not settled may have been sent. If this fails, the next process does it. In a database, the workers of other
        // processes go on, and ours has said that it is gone.
        let mark = postgres_url(self.ledger)?.is_none().then_some(Change::MarkGone(Gone::All));
        let changes = mark.into_iter().chain([Change::Reclaim(usize::MAX)]).collect();
        if let Err(error) = self.outbox.ledger().commit(changes).await {
            run.progress.note(shown(&error.localized()));
        }
        self.read_waiting(run).await;
        Ok(())
    }

    /// Reads the messages that have ended from the ledger. Says why, and returns false, if that fails.
    async fn read_waiting<W: Write>(&self, run: &mut DurableRun<W>) -> bool {
        let waiting: Vec<_> = run.waiting.keys().copied().collect();
        run.unsettled = 0;
        let ledger = self.outbox.ledger();
        let mut messages = stream::iter(waiting).map(|id| ledger.message(id)).buffer_unordered(MAX_READS);
        while let Some(message) = messages.next().await {
            match message {
                Ok(Some(message)) => {
                    run.unsettled += usize::from(message.state == MessageState::Attempting);
                    run.end(message, None);
                }
                Ok(None) => {}
                Err(error) => {
                    run.progress.note(shown(&error.localized()));
                    run.unsettled = self.gate.in_flight().min(run.waiting.len());
                    return false;
                }
            }
        }
        true
    }
}

/// What became of a line that was given to the ledger.
enum Recorded {
    /// A line with this message. The report is that of an invalid line.
    Message { message: Box<StoredMessage>, report: Option<Box<SendReport>>, was_known: bool },
    /// It has no message of its own.
    Rejected(Box<SendReport>),
}

impl<W: Write> DurableRun<W> {
    fn new(results: ResultWriter<W>) -> Self {
        Self {
            entries: Vec::new(),
            head: 0,
            waiting: HashMap::new(),
            next_due: None,
            unsettled: 0,
            ledger_fails: false,
            unknown: Vec::new(),
            summary: SendSummary::default(),
            results,
            progress: Progress::hidden(),
            is_complete: false,
            ended_before: 0,
        }
    }

    fn add(&mut self, number: u64, id: Option<Value>, recorded: Recorded) {
        let index = self.entries.len();
        let (message, invalid) = match recorded {
            Recorded::Rejected(report) => {
                self.summary.count(number, &report, (&report.result).into());
                self.entries.push(Entry { number, id, state: EntryState::Ended(report) });
                return;
            }
            Recorded::Message { message, report, was_known } => {
                self.ended_before += usize::from(was_known && message.state.is_final());
                (message, report)
            }
        };
        self.entries.push(Entry { number, id, state: EntryState::Waiting });
        self.waiting.insert(message.id, index);
        if !message.state.is_final() {
            self.next_due = Some(self.next_due.map_or(message.due_at, |due| due.min(message.due_at)));
        }
        self.end(*message, invalid);
    }

    /// How many lines have ended.
    fn ended(&self) -> u64 {
        (self.entries.len() - self.waiting.len()) as u64
    }

    /// The messages that wait, with their lines.
    fn waiting_lines(&self) -> HashMap<MessageId, u64> {
        let number = |index: &usize| self.entries.get(*index).map_or(0, |entry| entry.number);
        self.waiting.iter().map(|(id, index)| (*id, number(index))).collect()
    }

    /// Takes the message if it is final and one of the lines waits for it. The line can have another report than that of the message.
    fn end(&mut self, message: StoredMessage, other: Option<Box<SendReport>>) {
        if !message.state.is_final() {
            return;
        }
        let Some(index) = self.waiting.remove(&message.id) else { return };
        let Some(entry) = self.entries.get_mut(index) else { return };
        let report = other.unwrap_or_else(|| Box::new(report(&message)));
        // Nothing is left to do about a message that is decided.
        let is_decided = message.state == MessageState::MaybeSent && !message.is_undecided();
        let exit = if is_decided { ExitStatus::Success } else { (&report.result).into() };
        self.summary.count(entry.number, &report, exit);
        entry.state = EntryState::Ended(report);
        if message.is_undecided() {
            self.unknown.push(UnknownLine { number: entry.number, id: entry.id.clone(), message });
        }
    }

    /// Says when commits begin to fail, and stops the batch when they go on failing.
    fn watch_ledger(&mut self, failure: Option<LedgerFailure>, gate: &BatchGate) {
        let was_failing = std::mem::replace(&mut self.ledger_fails, failure.is_some());
        match failure {
            Some(LedgerFailure { error, .. }) if !was_failing => {
                self.progress.note(shown(&error.localized()));
            }
            Some(LedgerFailure { commits, .. }) if commits >= MAX_LEDGER_FAILURES => {
                gate.stop(StopReason::LedgerFailed(commits));
                self.progress.note(localized!(
                    "waiting up to 60 s until the ledger takes the outcomes of messages in flight",
                    "最多等待 60 秒，直到消息库记下已发出消息的结果"
                ));
            }
            None if was_failing => {
                self.progress.note(localized!("the ledger works again", "消息库已恢复"));
            }
            _ => {}
        }
    }

    /// Writes the results up to the first line that has not ended.
    fn write_ended(&mut self, gate: &BatchGate) {
        while self.entries.get(self.head).is_some_and(|entry| !matches!(entry.state, EntryState::Waiting)) {
            self.write(self.head, gate);
            self.head += 1;
        }
        self.progress.show(self.ended(), &self.summary);
    }

    /// Writes the results of the lines after it, too.
    fn write_rest(&mut self, gate: &BatchGate) {
        (self.head..self.entries.len()).for_each(|index| self.write(index, gate));
        self.progress = Progress::hidden();
    }

    fn write(&mut self, index: usize, gate: &BatchGate) {
        let Some(entry) = self.entries.get_mut(index) else { return };
        let EntryState::Ended(report) = &entry.state else { return };
        if let Err(text) = self.results.write(entry.number, report.result.clone(), entry.id.as_ref()) {
            gate.stop(StopReason::ResultsLost);
            self.progress.note(localized!("not written: {text}", "没有写入：{text}"));
        }
        entry.state = EntryState::Written;
    }

    /// Prints the counts, the unknown lines, why the batch stopped, and the command that goes on. Returns the exit status.
    pub(super) fn print_summary(
        mut self,
        batch: &DurableBatch<'_>,
        continuation: impl Fn() -> String,
    ) -> ExitStatus {
        self.summary.first_descriptions().for_each(console::note);
        let mut parts = vec![self.summary.to_string()];
        let (unsettled, queued) = (self.unsettled, self.waiting.len() - self.unsettled);
        if queued > 0 {
            parts.push(localized!("{queued} queued", "排队中 {queued}"));
        }
        if unsettled > 0 {
            parts.push(localized!("{unsettled} in flight", "正在发送 {unsettled}"));
        }
        if !self.is_complete {
            parts.push(localized!("the rest not recorded", "其余未登记"));
        }
        console::note(list(&parts));
        if unsettled > 0 {
            console::note(localized!(
                "those in flight may have been sent: the ledger did not take their outcomes",
                "正在发送的消息可能已发出：消息库没有记下它们的结果"
            ));
        }
        match (batch.gate.attempts(), self.ended_before) {
            (0, ended) if self.waiting.is_empty() && self.is_complete => console::note(localized!(
                "nothing to do: {ended} lines had ended before; nothing was posted",
                "无需处理：{ended} 行之前已有结果；没有发出任何消息"
            )),
            (_, 0) => {}
            (_, ended) => console::note(localized!(
                "{ended} lines had ended before this run",
                "{ended} 行在本次运行之前已有结果"
            )),
        }
        self.print_unknown(batch);
        let mut exit = self.summary.exit_status();
        if let Some(error) = &self.results.failed {
            let text = localized!(
                "results cannot be written: {error}; run the command again to get all",
                "无法写入结果：{error}；重新运行该命令可以得到全部结果"
            );
            exit = exit.max(CliError::unexpected(text).report());
        }
        if !self.waiting.is_empty() || !self.is_complete {
            exit = exit.max(if self.unsettled > 0 { ExitStatus::MaybeSent } else { ExitStatus::NotSent });
            note_continuation(batch.gate.stopped(), &continuation());
        }
        exit
    }

    fn print_unknown(&mut self, batch: &DurableBatch<'_>) {
        if self.unknown.is_empty() {
            return;
        }
        self.unknown.sort_by_key(|line| line.number);
        for UnknownLine { number, id, message } in &self.unknown {
            let id = id.as_ref().map(|id| localized!(", id {id}", "，id {id}")).unwrap_or_default();
            let user = message.touser.as_ref().map_or("", |user| user.as_str());
            console::note(localized!(
                "maybe sent: line {number}{id}, to {user}: message {message}",
                "可能已发出：第 {number} 行{id}，接收者 {user}：消息 {message}",
                message = message.id
            ));
        }
        console::note(localized!(
            "decide each with: wxsub outbox decide {ledger} ID",
            "请逐条裁定：wxsub outbox decide {ledger} ID",
            ledger = flag("--outbox", batch.ledger)
        ));
    }
}
