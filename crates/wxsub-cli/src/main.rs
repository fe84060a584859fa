//! `wxsub`: consent URLs, callbacks, messages and access tokens on the command line.
//!
//! Data goes to standard output, everything else to standard error. [`ExitStatus`](error::ExitStatus) lists the exit codes.

mod backend;
mod command;
mod console;
mod describe;
mod environment;
mod error;
mod input;
mod interrupt;
mod ledger_file;
mod line_checker;
mod logs;
mod output;
mod shell;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = command::Arguments::parse();
    let result = logs::start(arguments.command.log_directives()).and_then(|()| arguments.command.run());
    let exit = result.unwrap_or_else(|error| error.report());
    console::flush();
    exit.into()
}
