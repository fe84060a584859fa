//! What `wxsub send` prints: results, progress and summary.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write, stderr, stdout};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use wxsub_api::{SendResult, SendStatus};
use wxsub_proto::{LocalizedText, Message, OpenId, Scene, TemplateId};

use super::deliver::SendReport;
use crate::console;
use crate::error::ExitStatus;
use crate::language::{localized, shown};

/// Writes each result without buffering, and keeps the number of the last line written.
pub(super) struct ResultWriter<W> {
    out: W,
    /// Number of the last line whose result was written.
    pub(super) last_recorded: Option<u64>,
    /// The error of the first failed write.
    pub(super) failed: Option<io::Error>,
    /// Whether the result of a message that may have been posted was not written.
    pub(super) posted_lost: bool,
}

/// A result with the caller's id.
#[serde_with::skip_serializing_none]
#[derive(Serialize)]
pub(super) struct Record<'a> {
    #[serde(flatten)]
    result: SendResult,
    id: Option<&'a Value>,
}

impl<'a> Record<'a> {
    pub(super) fn new(result: SendResult, id: Option<&'a Value>) -> Self {
        Self { result, id }
    }
}

impl<W: Write> ResultWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, last_recorded: None, failed: None, posted_lost: false }
    }

    /// Writes the result of a line. After the first failure nothing more is written.
    ///
    /// # Errors
    ///
    /// The text of the result if it was not written.
    pub(super) fn write(&mut self, line: u64, result: SendResult, id: Option<&Value>) -> Result<(), String> {
        let posted = matches!(result.outcome, SendStatus::Sent | SendStatus::Refused | SendStatus::MaybeSent);
        let record = Record::new(result.at_line(line), id);
        let mut text = serde_json::to_string(&record).map_err(|error| error.to_string())?;
        text.push('\n');
        if self.failed.is_none() {
            // One write per line, so that earlier lines are complete.
            self.failed = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).err();
        }
        if self.failed.is_none() {
            self.last_recorded = Some(line);
            return Ok(());
        }
        self.posted_lost |= posted;
        text.pop();
        Err(text)
    }
}

/// A message that would be sent.
#[serde_with::skip_serializing_none]
#[derive(Serialize)]
pub(super) struct WouldSend<'a> {
    would_send: bool,
    touser: &'a OpenId,
    template_id: &'a TemplateId,
    scene: Scene,
    line: Option<u64>,
    id: Option<&'a Value>,
}

impl<'a> WouldSend<'a> {
    pub(super) fn new(message: &'a Message, line: Option<u64>, id: Option<&'a Value>) -> Self {
        let grant = message.grant();
        let (touser, template_id, scene) = (grant.openid(), grant.template_id(), grant.scene());
        Self { would_send: true, touser, template_id, scene, line, id }
    }
}

/// So many lines with this outcome.
fn counted(outcome: SendStatus, count: u64) -> String {
    match outcome {
        SendStatus::Sent => localized!("{count} sent", "已发送 {count}"),
        SendStatus::Refused => localized!("{count} refused", "被拒绝 {count}"),
        SendStatus::Invalid => localized!("{count} invalid", "无效 {count}"),
        SendStatus::NotSent => localized!("{count} not sent", "未发出 {count}"),
        SendStatus::MaybeSent => localized!("{count} maybe sent", "可能已发出 {count}"),
    }
}

/// Number of lines per outcome, and the first description of each outcome except success.
#[derive(Default)]
pub(super) struct SendSummary {
    /// In the order of [`SendStatus::ALL`].
    counts: [(u64, Option<String>); 5],
    /// The largest exit status of the lines.
    exit: ExitStatus,
    pub(super) untried: Untried,
}

/// Number of selected lines that were not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untried {
    Known(u64),
    /// The input was not read to its end.
    Unknown,
}

impl Default for Untried {
    fn default() -> Self {
        Self::Known(0)
    }
}

impl Untried {
    /// Adds this many lines.
    pub(super) fn plus(self, lines: u64) -> Self {
        match self {
            Self::Known(untried) => Self::Known(untried + lines),
            Self::Unknown => Self::Unknown,
        }
    }
}

impl SendSummary {
    /// Counts the outcome of a line, and its exit status.
    pub(super) fn count(&mut self, line: u64, report: &SendReport, exit: ExitStatus) {
        self.exit = self.exit.max(exit);
        let counts = self.counts.iter_mut().zip(SendStatus::ALL);
        for ((count, first), _) in counts.filter(|(_, outcome)| **outcome == report.result.outcome) {
            *count += 1;
            if first.is_none() {
                let text = report.description.as_ref();
                *first = text.map(|text| localized!("line {line}: {text}", "第 {line} 行：{text}"));
            }
        }
    }

    /// Whether no line was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.non_zero().next().is_none()
    }

    /// The largest exit status of the lines. A line that was not tried counts as not sent.
    pub(super) fn exit_status(&self) -> ExitStatus {
        let has_untried = self.untried != Untried::Known(0);
        if has_untried { self.exit.max(ExitStatus::NotSent) } else { self.exit }
    }

    /// The first description of each outcome except success.
    pub(super) fn first_descriptions(&self) -> impl Iterator<Item = String> {
        self.non_zero().filter_map(|(outcome, _, first)| {
            let (first, name) = (first.as_ref()?, outcome.as_str().replace('_', " "));
            Some(localized!("first {name}: {first}", "首个 {outcome}：{first}"))
        })
    }

    /// The counts that are not zero, to fit on a line of the terminal.
    fn brief(&self) -> String {
        let counts: Vec<_> = self.non_zero().map(|(outcome, count, _)| counted(outcome, count)).collect();
        if counts.is_empty() { counted(SendStatus::Sent, 0) } else { list(&counts) }
    }

    fn non_zero(&self) -> impl Iterator<Item = (SendStatus, u64, &Option<String>)> {
        self.all().filter(|(_, count, _)| *count > 0)
    }

    fn all(&self) -> impl Iterator<Item = (SendStatus, u64, &Option<String>)> {
        let all = SendStatus::ALL.iter().zip(&self.counts);
        all.map(|(outcome, (count, first))| (*outcome, *count, first))
    }
}

impl Display for SendSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<_> = self.all().map(|(outcome, count, _)| counted(outcome, count)).collect();
        match self.untried {
            Untried::Known(0) => {}
            Untried::Known(lines) => parts.push(localized!("{lines} not tried", "未尝试 {lines}")),
            Untried::Unknown => parts.push(localized!("the rest not tried", "其余未尝试")),
        }
        f.write_str(&list(&parts))
    }
}

/// Joins the parts of a summary.
pub(super) fn list(parts: &[String]) -> String {
    parts.join(shown(&LocalizedText::new(", ", "，")))
}

/// Progress bar on standard error. It is hidden without a terminal, and if the results go to the terminal.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Creates a bar for a file of this many bytes, or a spinner if the length is unknown.
    pub(super) fn new(length: Option<u64>) -> Self {
        if !stderr().is_terminal() || stdout().is_terminal() {
            return Self(None);
        }
        let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match length {
            Some(_) => "{wide_bar} {percent}% {msg}",
            None => "{spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Shows nothing.
    pub(super) fn hidden() -> Self {
        Self(None)
    }

    /// Creates a bar for this many lines, of which some are done, with the rate and the time that is left.
    pub(super) fn of_lines(lines: u64, done: u64) -> Self {
        let progress = Self::new(Some(lines));
        if let Some(bar) = &progress.0
            && let Ok(style) =
                ProgressStyle::with_template("{pos}/{len}, {rate}, {eta} left: {msg} {wide_bar}")
        {
            let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // Writing to the terminal's line cannot fail.
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
            bar.set_position(done);
            bar.reset_eta();
        }
        progress
    }

    /// Shows that this many bytes or lines are done.
    pub(super) fn show(&self, done: u64, summary: &SendSummary) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
            bar.set_message(summary.brief());
        }
    }

    /// Prints a line above the bar.
    pub(super) fn note(&self, text: impl Display) {
        match &self.0 {
            Some(bar) => bar.suspend(|| console::note(text)),
            None => console::note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that fails after this many bytes, like a full disk.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match bytes.len().min(self.0) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                taken => {
                    self.0 -= taken;
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn message() -> Message {
        serde_json::from_str(
            r#"{"touser":"o","template_id":"T","scene":"1","title":"t","data":{"content":{"value":"v"}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn id_is_the_last_member() {
        let mut out = Vec::new();
        ResultWriter::new(&mut out).write(7, SendResult::sent(&message()), Some(&"x".into())).unwrap();
        let expected = r#"{"outcome":"sent","touser":"o","template_id":"T","scene":"1","line":7,"id":"x"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn last_recorded_line_is_complete() {
        let mut one = Vec::new();
        ResultWriter::new(&mut one).write(1, SendResult::sent(&message()), None).unwrap();
        let mut out = ResultWriter::new(Disk(2 * one.len() + 5));
        for line in 1..=2 {
            assert_eq!(out.write(line, SendResult::sent(&message()), None), Ok(()));
        }
        assert!(!out.posted_lost);
        for line in 3..=4 {
            let lost = out.write(line, SendResult::sent(&message()), None).unwrap_err();
            assert!(lost.ends_with(&format!(r#""line":{line}}}"#)), "{lost}");
        }
        assert_eq!((out.last_recorded, out.posted_lost), (Some(2), true));
        assert_eq!(out.failed.unwrap().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn lost_result_of_unposted_message_is_not_in_doubt() {
        let mut out = ResultWriter::new(Disk(0));
        assert!(out.write(1, SendResult::not_sent(&message()), None).is_err());
        assert_eq!((out.last_recorded, out.posted_lost), (None, false));
    }

    #[test]
    fn progress_shows_what_has_ended() {
        let mut summary = SendSummary::default();
        assert_eq!(summary.brief(), "0 sent");
        for (line, result) in [(1, SendResult::not_sent(&message())), (2, SendResult::sent(&message()))] {
            summary.count(line, &SendReport::new(result, None), ExitStatus::Success);
        }
        assert_eq!(summary.brief(), "1 sent, 1 not sent");
    }

    #[test]
    fn untried_lines_exit_as_not_sent_and_are_listed_last() {
        for (untried, exit, text) in [
            (Untried::Known(0), ExitStatus::Success, ""),
            (Untried::Known(7), ExitStatus::NotSent, ", 7 not tried"),
            (Untried::Unknown, ExitStatus::NotSent, ", the rest not tried"),
        ] {
            let summary = SendSummary { untried, ..SendSummary::default() };
            let counts = "0 sent, 0 refused, 0 invalid, 0 not sent, 0 maybe sent";
            assert_eq!((summary.exit_status(), summary.to_string()), (exit, format!("{counts}{text}")));
        }
        assert_eq!(Untried::Unknown.plus(1), Untried::Unknown);
    }
}
