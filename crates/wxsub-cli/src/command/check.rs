//! `wxsub check`: validates messages without a network.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::input::{Input, unreadable};
use crate::line_checker::LineChecker;
use crate::line_reader::{Line, LineReader, MAX_LINE_BYTES};
use crate::output::Output;
use wxsub_server::send_result::{FieldError, problems_of};

/// Validate messages offline and name every problem.
///
/// Reads JSON Lines, one message a line, or one message that stands on several lines. A line may carry an "id" of the
/// caller's. The second line for one user, template and scene is a problem too. Ends with 2 if there are problems.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file; `-` reads standard input
    file: PathBuf,
    /// Print one JSON object per message
    #[arg(long)]
    json: bool,
}

/// What is said about one message.
#[derive(Serialize)]
struct Checked {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    problems: Vec<FieldError>,
}

/// How many there were.
#[derive(Default)]
struct Tally {
    messages: u64,
    bad: u64,
}

impl Check {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let (mut output, mut tally) = (Output::new(), Tally::default());
        let mut checker = LineChecker::default();
        for line in messages(&self.file)? {
            let line = line.map_err(|error| unreadable(&self.file, &error))?;
            let checked = checker.check(&line);
            let problems =
                checked.message.err().map_or_else(Vec::new, |invalid| problems_of(&invalid.problems));
            tally.messages += 1;
            tally.bad += u64::from(!problems.is_empty());
            self.tell(&mut output, Checked { line: line.number, id: checked.id, problems });
        }
        match (tally.messages, tally.bad) {
            (0, _) => console::note("there is no message in it"),
            (messages, 0) => console::note(format_args!("{messages} checked, no problems")),
            (messages, bad) => console::note(format_args!("{messages} checked, {bad} with problems")),
        }
        Ok(output.end(if tally.bad == 0 { ExitStatus::Success } else { ExitStatus::Usage }))
    }

    fn tell(&self, output: &mut Output, checked: Checked) {
        if self.json {
            return output.json(&checked);
        }
        for FieldError { field, rule, .. } in checked.problems {
            output.line(format_args!("line {}: {field}: {rule}", checked.line));
        }
    }
}

/// The messages of a file: its lines, or all of it if it is one JSON object on several lines.
fn messages(path: &Path) -> Result<Box<dyn Iterator<Item = std::io::Result<Line>>>, CliError> {
    let mut input = Input::open(path)?.bytes;
    let mut beginning = Vec::new();
    let most = MAX_LINE_BYTES as u64 + 1;
    input.by_ref().take(most).read_to_end(&mut beginning).map_err(|error| unreadable(path, &error))?;
    if beginning.len() <= MAX_LINE_BYTES
        && let Some(whole) = whole(&beginning)
    {
        return Ok(Box::new(std::iter::once(Ok(whole))));
    }
    let everything: Box<dyn BufRead> = Box::new(Cursor::new(beginning).chain(BufReader::new(input)));
    Ok(Box::new(LineReader::new(everything)))
}

/// All of it as one line, if it is one JSON object.
fn whole(text: &[u8]) -> Option<Line> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    // What is ignored is not checked for being UTF-8.
    serde_json::from_str::<HashMap<String, IgnoredAny>>(std::str::from_utf8(text).ok()?).ok()?;
    let blank = text.iter().take_while(|byte| byte.is_ascii_whitespace());
    let number = 1 + blank.filter(|byte| **byte == b'\n').count() as u64;
    Some(Line { number, text: Some(text.to_vec()), read: text.len() as u64 })
}
