//! `wxsub consent verify`: checks a callback against the values of its request.

use std::fmt::Display;
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

/// Check a callback and print it as JSON.
///
/// Exits with 3 if the user cancelled. Exits with 2 if the callback is invalid or has other values than expected.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Callback: a URL, a query string, JSON or key:value lines; `-` reads standard input
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
    /// Reserved value of the consent request
    #[arg(long, value_name = "R")]
    expect_reserved: Option<String>,
    /// Scene of the consent request
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    expect_scene: Option<String>,
    /// Template of the consent request
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    expect_template: Option<String>,
}

/// Maximum length of a callback on standard input, in bytes.
const MAX_CALLBACK_BYTES: u64 = 64 * 1024;

/// The output.
#[derive(Serialize)]
struct VerifyOutput<'a> {
    #[serde(flatten)]
    callback: &'a ConsentCallback,
    /// `false` without `--expect-reserved`, else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
}

impl Verify {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let expected = self.expected()?;
        let callback = self.callback()?;
        expected.check(&callback).map_err(rejected)?;
        let is_verified = expected.reserved.is_some();
        if !is_verified {
            console::warning(
                "without --expect-reserved, a forged callback is not detected; check its reserved value before you use it",
            );
        }
        let mut output = Output::new();
        output.json(&VerifyOutput { callback: &callback, verified: (!is_verified).then_some(false) });
        Ok(match callback.action() {
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

    fn callback(&self) -> Result<ConsentCallback, CliError> {
        if self.text != "-" {
            return self.text.parse().map_err(rejected);
        }
        let bytes = Input::read(Path::new("-"), MAX_CALLBACK_BYTES)?;
        String::from_utf8_lossy(&bytes).parse().map_err(rejected)
    }
}

fn rejected(cause: impl Display) -> CliError {
    CliError::new(ExitStatus::Usage, format_args!("callback rejected: {cause}"))
}
