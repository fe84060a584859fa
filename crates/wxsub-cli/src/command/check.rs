//! `wxsub check`: validates messages without network.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use wxsub_api::FieldError;
use wxsub_proto::ValidationErrors;

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::input::{Input, Line, LineReader, MAX_LINE_BYTES, unreadable};
use crate::language::{localized, shown};
use crate::line_checker::LineChecker;
use crate::output::Output;

/// Validate messages offline and name every problem.
///
/// The file is JSON Lines with one message per line, or one message that spans several lines. A line may have an "id" of your
/// own. A second line for the same user, template and scene is a problem too. Exits with 2 if there are problems.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// File of messages; `-` reads standard input
    file: PathBuf,
    /// Print one JSON object per message
    #[arg(long)]
    json: bool,
}

/// The problems of one message.
#[serde_with::skip_serializing_none]
#[derive(Serialize)]
struct MessageProblems {
    line: u64,
    id: Option<Value>,
    problems: Vec<FieldError>,
}

impl Check {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let (mut output, mut messages, mut invalid) = (Output::new(), 0, 0);
        let mut checker = LineChecker::default();
        for line in read_messages(&self.file)? {
            let line = line.map_err(|error| unreadable(&self.file, &error))?;
            let checked = checker.check(&line);
            let problems = checked.message.err().map(|invalid| invalid.problems);
            messages += 1;
            invalid += u64::from(problems.is_some());
            if self.json {
                let problems = problems.as_ref().map_or_else(Vec::new, FieldError::list);
                output.json(&MessageProblems { line: line.number, id: checked.id, problems });
            } else if let Some(problems) = problems {
                print(&mut output, line.number, &problems);
            }
        }
        match (messages, invalid) {
            (0, _) => console::note(localized!("the file has no message", "文件中没有消息")),
            (messages, 0) => {
                console::note(localized!(
                    "{messages} checked, no problems",
                    "已检查 {messages} 条，没有问题"
                ));
            }
            (messages, invalid) => console::note(localized!(
                "{messages} checked, {invalid} with problems",
                "已检查 {messages} 条，{invalid} 条有问题"
            )),
        }
        Ok(output.end(if invalid == 0 { ExitStatus::Success } else { ExitStatus::Usage }))
    }
}

fn print(output: &mut Output, line: u64, problems: &ValidationErrors) {
    for problem in problems.iter() {
        let problem = shown(&problem.localized());
        output.line(localized!("line {line}: {problem}", "第 {line} 行：{problem}"));
    }
}

/// Reads the messages of a file: one per line, or one JSON object that spans several lines.
fn read_messages(path: &Path) -> Result<Box<dyn Iterator<Item = std::io::Result<Line>>>, CliError> {
    let mut input = Input::open(path)?.bytes;
    let mut beginning = Vec::new();
    let max = MAX_LINE_BYTES as u64 + 1;
    input.by_ref().take(max).read_to_end(&mut beginning).map_err(|error| unreadable(path, &error))?;
    if beginning.len() <= MAX_LINE_BYTES
        && let Some(message) = single_message(&beginning)
    {
        return Ok(Box::new(std::iter::once(Ok(message))));
    }
    let input: Box<dyn BufRead> = Box::new(Cursor::new(beginning).chain(BufReader::new(input)));
    Ok(Box::new(LineReader::new(input)))
}

/// Returns the whole text as one line, if it is one JSON object.
fn single_message(text: &[u8]) -> Option<Line> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    // `IgnoredAny` does not check for UTF-8.
    serde_json::from_str::<HashMap<String, IgnoredAny>>(std::str::from_utf8(text).ok()?).ok()?;
    let blank = text.iter().take_while(|byte| byte.is_ascii_whitespace());
    let number = 1 + blank.filter(|byte| **byte == b'\n').count() as u64;
    Some(Line { number, text: Some(text.to_vec()), read: text.len() as u64 })
}
