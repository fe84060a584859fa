//! The commands, one module each.

mod check;
mod completions;
mod consent;
mod demo;
mod doctor;
mod explain;
mod key;
mod man;
mod sandbox;
mod send;
mod serve;
mod token;

use clap::Subcommand;

use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::runtime::block_on;

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Sandbox(sandbox::RunSandbox),
    Serve(serve::Serve),
    Key(key::Key),
    Consent(consent::Consent),
    Send(Box<send::Send>),
    Check(check::Check),
    Token(token::Token),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Manual),
}

impl Command {
    /// Default log filter of the command.
    pub(crate) fn log_directives(&self) -> &'static str {
        match self {
            // Its steps cause errors on purpose, and it reports each step.
            Self::Demo(_) => "off",
            Self::Serve(_) => "info",
            // It reports each message.
            Self::Send(_) => "warn,wxsub_core::client=off",
            _ => "warn",
        }
    }

    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Demo(demo) => block_on(demo.run()),
            Self::Sandbox(sandbox) => block_on(sandbox.run()),
            Self::Serve(serve) => block_on(serve.run()),
            Self::Key(key) => key.run(),
            Self::Consent(consent) => consent.run(),
            Self::Send(send) => block_on(send.run()),
            Self::Check(check) => check.run(),
            Self::Token(token) => block_on(token.run()),
            Self::Explain(explain) => explain.run(),
            Self::Doctor(doctor) => block_on(doctor.run()),
            Self::Completions(completions) => completions.run(),
            Self::Man(manual) => manual.run(),
        }
    }
}
