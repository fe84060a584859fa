//! `wxsub answer`: what the user decided, and whether to believe it.

use std::path::Path;

use clap::Args;
use serde::Serialize;
use wxsub_proto::consent::CallbackExpectations;
use wxsub_proto::{ConsentAction, ConsentCallback};

use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::input::Input;
use crate::output::Output;
use crate::usage::UsageErrors;

/// Read the answer that came back, and say whether it can be trusted.
///
/// Prints the grant as JSON; ends with 3 if the user cancelled, with 2 if the answer must not be trusted.
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// A callback URL, a query string, JSON or key:value lines; `-` reads standard input
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
    /// The value that was sent along with the request
    #[arg(long, value_name = "R")]
    expect_reserved: Option<String>,
    /// The occasion that was asked for
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    expect_scene: Option<String>,
    /// The template that was asked for
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    expect_template: Option<String>,
}

/// The most that is read, in bytes. No answer is that long.
const MOST: u64 = 64 * 1024;

/// The answer as it is printed.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    answer: &'a ConsentCallback,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
}

impl Read {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let expected = self.expected()?;
        let answer = self.answer()?;
        expected.check(&answer).map_err(not_trusted)?;
        let proven = expected.reserved.is_some();
        if !proven {
            console::warning(
                "without --expect-reserved this is anybody's claim; do not act on it before its reserved is checked",
            );
        }
        let mut output = Output::new();
        output.json(&Told { answer: &answer, verified: (!proven).then_some(false) });
        Ok(match answer.action() {
            ConsentAction::Confirm { .. } => output.end(ExitStatus::Success),
            ConsentAction::Cancel => {
                console::note("the user cancelled; there is no grant");
                output.end(ExitStatus::Refused)
            }
        })
    }

    fn expected(&self) -> Result<CallbackExpectations, CliError> {
        let mut usage = UsageErrors::default();
        let expected = CallbackExpectations {
            reserved: usage.optional("--expect-reserved", self.expect_reserved.as_deref()),
            scene: usage.optional("--expect-scene", self.expect_scene.as_deref()),
            template_id: usage.optional("--expect-template", self.expect_template.as_deref()),
        };
        usage.finish(Some(expected))
    }

    fn answer(&self) -> Result<ConsentCallback, CliError> {
        if self.text != "-" {
            return self.text.parse().map_err(not_trusted);
        }
        let bytes = Input::read(Path::new("-"), MOST)?;
        String::from_utf8_lossy(&bytes).parse().map_err(not_trusted)
    }
}

fn not_trusted(why: impl std::fmt::Display) -> CliError {
    CliError::new(ExitStatus::Usage, format_args!("not trusted: {why}"))
}
