//! Summary of a batch.

use std::fmt;
use std::path::Path;

use super::batch::{BatchEnd, ReaderEvent};
use super::deliver::SendReport;
use super::line_set::LineSet;
use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::input::unreadable;
use wxsub_server::send_result::SendStatus;

/// The outcomes in the order of the summary.
const OUTCOMES: [(SendStatus, &str); 5] = [
    (SendStatus::Sent, "sent"),
    (SendStatus::Refused, "refused"),
    (SendStatus::Invalid, "invalid"),
    (SendStatus::NotSent, "not sent"),
    (SendStatus::MaybeSent, "maybe sent"),
];

/// Number of lines per outcome, and the first description of each outcome except success.
#[derive(Default)]
pub(super) struct SendSummary {
    counts: [(u64, Option<String>); 5],
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
    /// Counts the outcome of a line.
    pub(super) fn count(&mut self, line: u64, report: &SendReport) {
        let kinds = self.counts.iter_mut().zip(OUTCOMES);
        for ((count, first), _) in kinds.filter(|(_, (outcome, _))| *outcome == report.result.outcome) {
            *count += 1;
            if first.is_none() {
                *first = report.description.as_ref().map(|text| format!("line {line}: {text}"));
            }
        }
    }

    /// The largest exit status of the lines. A line that was not tried counts as not sent.
    fn exit_status(&self) -> ExitStatus {
        let tried = self
            .non_zero()
            .map(|((outcome, _), ..)| ExitStatus::from(outcome))
            .max()
            .unwrap_or(ExitStatus::Success);
        if self.untried == Untried::Known(0) { tried } else { tried.max(ExitStatus::NotSent) }
    }

    /// The first description of each outcome except success.
    fn first_descriptions(&self) -> impl Iterator<Item = String> {
        self.non_zero().filter_map(|((_, name), _, first)| Some(format!("first {name}: {}", first.as_ref()?)))
    }

    fn non_zero(&self) -> impl Iterator<Item = ((SendStatus, &'static str), u64, &Option<String>)> {
        let all = OUTCOMES.into_iter().zip(&self.counts);
        all.map(|(kind, (count, first))| (kind, *count, first)).filter(|(_, count, _)| *count > 0)
    }
}

impl fmt::Display for SendSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((_, name), (count, _))) in OUTCOMES.iter().zip(&self.counts).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {name}")?;
        }
        match self.untried {
            Untried::Known(0) => Ok(()),
            Untried::Known(lines) => write!(f, ", {lines} not tried"),
            Untried::Unknown => f.write_str(", the rest not tried"),
        }
    }
}

impl<W: std::io::Write> BatchEnd<W> {
    /// Prints the counts, why the batch stopped, and the command for the remaining lines. Returns the exit status.
    pub(super) fn print_summary(self, path: &Path, continuation: impl Fn(&LineSet) -> String) -> ExitStatus {
        let Self { summary, results, stopped, rest, input_problem } = self;
        let mut exit = summary.exit_status();
        match input_problem {
            // No line was tried, so there is no summary.
            Some(ReaderEvent::Failed(error)) if summary.non_zero().next().is_none() => {
                return unreadable(path, &error).report();
            }
            Some(ReaderEvent::Failed(error)) => {
                unreadable(path, &error).report();
            }
            Some(ReaderEvent::Missing { line, lines }) => exit = exit.max(missing_line(line, lines).report()),
            Some(ReaderEvent::Line(_)) | None => {}
        }
        summary.first_descriptions().for_each(console::note);
        console::note(&summary);
        if let Some(error) = results.failed() {
            let failed = match results.last_recorded() {
                Some(line) => format!("results cannot be written: {error}; the last line recorded is {line}"),
                None => format!("results cannot be written: {error}; no line is recorded"),
            };
            exit = exit.max(CliError::unexpected(failed).report());
            if results.has_lost_posted() {
                exit = ExitStatus::MaybeSent;
            }
        }
        if !rest.is_empty() {
            exit = exit.max(ExitStatus::NotSent);
            if let Some(reason) = stopped {
                console::note(format_args!("stopped: {reason}"));
            }
            console::note(format_args!("go on with: {}", continuation(&rest)));
        }
        exit
    }
}

/// The error for a selected line that the input does not have.
pub(super) fn missing_line(line: u64, lines: u64) -> CliError {
    let text = format!("line {line} is selected, but the input has {lines}; correct --lines or --from-line");
    CliError::usage(vec![text])
}

#[cfg(test)]
mod tests {
    use super::*;

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
