//! `wxsub explain`: what an error code means, and what to do.

mod told;
mod words;

use std::path::Path;

use clap::{Args, ValueEnum};
use wxsub_proto::errcode::Language;
use wxsub_proto::{ErrCode, Refusal, Role};

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
    /// A number, or the error as you got it: JSON or text that says errcode; `-` reads standard input
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
        let refusal = read(&text);
        if refusal.is_none() {
            usage.add(
                "CODE",
                "must be a whole number such as 40001, or text that says errcode; copy it from the error you got",
            );
        }
        usage.end(refusal)
    }
}

/// The number alone, or the first one that is called errcode, with all that is said around it.
fn read(text: &str) -> Option<Refusal> {
    let text = text.trim();
    if let Ok(code) = text.parse() {
        return Some(Refusal::new(ErrCode::new(code), ""));
    }
    let (_, rest) = text.split_once("errcode")?;
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "\"':=\\".contains(c));
    let digits = |c: char| c.is_ascii_digit();
    let end = rest.strip_prefix('-').unwrap_or(rest).trim_start_matches(digits).len();
    let code = rest.get(..rest.len().checked_sub(end)?)?.parse().ok()?;
    Some(Refusal::new(ErrCode::new(code), &text.replace('"', " ")))
}

/// The two kinds of calls, in the order in which they are told.
const ROLES: [Role; 2] = [Role::TokenCall, Role::Send];

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_number_or_what_is_called_errcode() {
        for (text, code) in [
            ("40001", Some(40001)),
            (" -1\n", Some(-1)),
            (r#"{"errcode":40164,"errmsg":"invalid ip"}"#, Some(40164)),
            (r#"{"errmsg":"x", "errcode" : "-1"}"#, Some(-1)),
            (r#""{\"errcode\":45009}""#, Some(45009)),
            ("error: Weixin refused: errcode 43101: user refuse", Some(43101)),
            ("errcode=7,", Some(7)),
            ("errcode", None),
            ("errcode: none", None),
            ("errcode -", None),
            ("99999999999999999999", None),
            ("4e4", None),
            ("40001 40013", None),
            ("", None),
        ] {
            assert_eq!(read(text).map(|refusal| refusal.errcode().get()), code, "{text}");
        }
    }
}
