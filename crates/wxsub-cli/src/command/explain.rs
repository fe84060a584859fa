//! `wxsub explain`: the meaning and the remedy of an errcode.

mod find;
mod labels;
mod output;

use std::path::Path;

use clap::{Args, ValueEnum};
use wxsub_proto::errcode::Language;
use wxsub_proto::{ApiError, Operation};

use self::labels::Labels;
use self::output::Explanation;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::input::Input;
use crate::output::Output;
use crate::usage::UsageErrors;

/// Explain an error code: its meaning on a token call and on a send, and the remedy.
///
/// The exit code is 0 also for a number that wxsub does not know, because Weixin's codes are an open set.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Error code, or the text of an error from Weixin, an SDK or a log; `-` reads standard input
    #[arg(value_name = "CODE", allow_negative_numbers = true)]
    code: String,
    /// Language of the output
    #[arg(long, value_name = "LANG", value_enum, default_value_t = Lang::En)]
    lang: Lang,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lang {
    /// English
    En,
    /// Simplified Chinese
    Zh,
}

/// Maximum length of standard input, in bytes. The rest is not read.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

impl Explain {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let refusal = self.refusal()?;
        let language = match self.lang {
            Lang::En => Language::English,
            Lang::Zh => Language::Chinese,
        };
        let explanation = Explanation::new(&refusal, language);
        let mut output = Output::new();
        if self.json {
            output.json(&explanation);
        } else {
            explanation.print(Labels::of(language), &mut output);
        }
        Ok(output.end(ExitStatus::Success))
    }

    fn refusal(&self) -> Result<ApiError, CliError> {
        let text = match self.code.as_str() {
            "-" => String::from_utf8_lossy(&Input::read(Path::new("-"), MAX_INPUT_BYTES)?).into_owned(),
            given => given.to_owned(),
        };
        let mut usage = UsageErrors::default();
        let refusal = find::code(&text).map(|code| ApiError::new(code, &text.replace('"', " ")));
        if refusal.is_none() {
            usage.add(
                "CODE",
                "must be a whole number such as 40001, or text with one error code; copy it from the error you got",
            );
        }
        usage.finish(refusal)
    }
}

/// The operations, in the order of the output.
const OPERATIONS: [Operation; 2] = [Operation::FetchToken, Operation::Send];
