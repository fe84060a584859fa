//! `wxsub consent`: the consent URL and its callback.

mod url;
mod verify;

use clap::{Args, Subcommand};

use crate::error::CliError;
use crate::exit::ExitStatus;

/// Print a consent URL, or verify its callback.
#[derive(Debug, Args)]
pub(crate) struct Consent {
    #[command(subcommand)]
    command: ConsentCommand,
}

#[derive(Debug, Subcommand)]
enum ConsentCommand {
    Url(url::Url),
    Verify(verify::Verify),
}

impl Consent {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        match self.command {
            ConsentCommand::Url(url) => url.run(),
            ConsentCommand::Verify(verify) => verify.run(),
        }
    }
}
