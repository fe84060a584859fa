//! `wxsub`: consent URLs, callbacks, messages and access tokens on the command line.
//!
//! Data goes to standard output, everything else to standard error. [`ExitStatus`](exit::ExitStatus) lists the exit codes.

mod app;
mod arguments;
mod backend;
mod command;
mod console;
mod control_server;
mod describe;
mod environment;
mod error;
mod exit;
mod file_format;
mod input;
mod interrupt;
mod line_checker;
mod line_reader;
mod logs;
mod output;
mod runtime;
mod shell;
mod stderr;
mod transport;
mod usage;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let result = logs::start(arguments.command.log_directives()).and_then(|()| arguments.command.run());
    let exit = result.unwrap_or_else(|error| error.report());
    stderr::flush();
    exit.into()
}
