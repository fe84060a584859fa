//! `wxsub console`: the passwords of operators.

use std::io::{IsTerminal, stdin};
use std::path::Path;

use clap::{Args, Subcommand};
use wxsub_server::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, hash_password};
use zeroize::Zeroizing;

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::input::Input;
use crate::language::localized;
use crate::output::Output;

/// Hash a password for the console of a control server.
#[derive(Debug, Subcommand)]
pub(crate) enum Console {
    Password(Password),
}

/// Read a password, and print its hash for password_hash.
///
/// At a terminal, it asks for the password twice and does not show it. Otherwise it reads one line from standard input.
#[derive(Debug, Args)]
pub(crate) struct Password;

impl Console {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let Self::Password(Password) = self;
        let password = if stdin().is_terminal() { ask()? } else { read()? };
        let (chars, bytes) = (password.chars().count(), password.len());
        if chars < MIN_PASSWORD_CHARS || bytes > MAX_PASSWORD_BYTES {
            return Err(wrong(localized!(
                "must have at least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes; choose another one",
                "至少要有 {MIN_PASSWORD_CHARS} 个字符，最多 {MAX_PASSWORD_BYTES} 字节；请换一个"
            )));
        }
        let hash = hash_password(&password).map_err(CliError::unexpected)?;
        let mut output = Output::new();
        output.line(&hash);
        let exit = output.end(ExitStatus::Success);
        console::note(localized!("# Lines for the server's configuration:", "# 服务器配置中的内容："));
        console::note("[[console.users]]");
        console::note("name = \"\"");
        console::note(format_args!("password_hash = \"{hash}\""));
        console::note(localized!("role = \"operator\"  # or viewer", "role = \"operator\"  # 或 viewer"));
        Ok(exit)
    }
}

/// One line of standard input.
fn read() -> Result<Zeroizing<String>, CliError> {
    // Also a password that is too long by a byte, with its line end.
    let max = u64::try_from(MAX_PASSWORD_BYTES + 3).unwrap_or(u64::MAX);
    let bytes = Zeroizing::new(Input::read_beginning(Path::new("-"), max)?);
    let text = str::from_utf8(&bytes).map_err(|_| wrong(localized!("is not UTF-8", "不是 UTF-8")))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    match line.contains(['\r', '\n']) {
        true => Err(wrong(localized!("must be one line", "必须只有一行"))),
        false => Ok(Zeroizing::new(line.to_owned())),
    }
}

/// Asks twice.
fn ask() -> Result<Zeroizing<String>, CliError> {
    let ask = |prompt: String| {
        let answer = rpassword::prompt_password(prompt).map_err(CliError::unexpected)?;
        Ok::<_, CliError>(Zeroizing::new(answer))
    };
    let password = ask(localized!("Password: ", "密码："))?;
    match *password == *ask(localized!("Again: ", "再次输入："))? {
        true => Ok(password),
        false => Err(wrong(localized!("differs the second time; try again", "两次输入不一致；请重试"))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "its callers make the text for it")]
fn wrong(text: String) -> CliError {
    CliError::usage(localized!("password: {text}", "密码：{text}"))
}
