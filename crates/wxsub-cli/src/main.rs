//! `wxsub`: consent URLs, callbacks, messages and access tokens on the command line.
//!
//! Data goes to standard output, everything else to standard error. [`ExitStatus`](error::ExitStatus) lists the exit codes.

mod backend;
mod command;
mod console;
mod describe;
mod diagnosis;
mod environment;
mod error;
mod input;
mod interrupt;
mod language;
mod ledger_file;
mod line_checker;
mod logs;
mod outbox_access;
mod output;
mod shell;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    console::start_format(logs::is_json());
    let arguments = match command::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return command_line_error(&error),
    };
    language::start(arguments.lang, environment::locale().as_deref());
    let result = logs::start(arguments.command.log_directives()).and_then(|()| arguments.command.run());
    let exit = result.unwrap_or_else(|error| error.report());
    console::flush();
    exit.into()
}

/// Prints the help, or what is wrong with the command line.
fn command_line_error(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && logs::is_json() {
        let text = error.render().to_string();
        console::error(text.strip_prefix("error: ").unwrap_or(&text));
        return error::ExitStatus::Usage.into();
    }
    error.exit()
}
