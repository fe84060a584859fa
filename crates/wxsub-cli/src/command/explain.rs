//! `wxsub explain`: what an error code means, and what to do.

mod find;
mod told;
mod words;

use std::path::Path;

use clap::{Args, ValueEnum};
use wxsub_proto::errcode::Language;
use wxsub_proto::{Refusal, Role};

use self::told::Told;
use self::words::Words;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::output::Output;
use crate::wrong_usage::WrongUsage;

/// Say what an error code means, on a token call and on a send, and what to do about it.
///
/// Weixin's codes are an open set: a number that wxsub does not know is answered too, and ends with 0.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A number, or the error as Weixin, an SDK or a log shows it; `-` reads standard input
    #[arg(value_name = "CODE", allow_negative_numbers = true)]
    code: String,
    /// The language to answer in
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

/// The most that is read, in bytes. No error is that long.
const MOST: u64 = 64 * 1024;

impl Explain {
    /// Does it.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let refusal = self.refusal()?;
        let language = match self.lang {
            Lang::En => Language::English,
            Lang::Zh => Language::Chinese,
        };
        let told = Told::new(&refusal, language);
        let mut output = Output::new();
        if self.json {
            output.json(&told);
        } else {
            told.print(Words::of(language), &mut output);
        }
        Ok(output.end(Exit::Done))
    }

    fn refusal(&self) -> Result<Refusal, Failure> {
        let text = match self.code.as_str() {
            "-" => String::from_utf8_lossy(&Input::read(Path::new("-"), MOST)?).into_owned(),
            given => given.to_owned(),
        };
        let mut usage = WrongUsage::default();
        let refusal = find::code(&text).map(|code| Refusal::new(code, &text.replace('"', " ")));
        if refusal.is_none() {
            usage.add(
                "CODE",
                "must be a whole number such as 40001, or text with one error code; copy it from the error you got",
            );
        }
        usage.end(refusal)
    }
}

/// The two kinds of calls, in the order in which they are told.
const ROLES: [Role; 2] = [Role::TokenCall, Role::Send];
