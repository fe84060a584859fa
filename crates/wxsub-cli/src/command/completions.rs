//! `wxsub completions`: completion scripts for shells.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{CliError, ExitStatus};
use crate::output::Output;

/// Print the completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Completions {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

const AFTER_HELP: &str = "\
To install the script, for example:
  bash        wxsub completions bash > ~/.local/share/bash-completion/completions/wxsub
  zsh         wxsub completions zsh > ~/.zfunc/_wxsub   (with fpath+=~/.zfunc before compinit)
  fish        wxsub completions fish > ~/.config/fish/completions/wxsub.fish
  powershell  wxsub completions powershell >> $PROFILE
  elvish      wxsub completions elvish >> ~/.config/elvish/rc.elv";

impl Completions {
    /// Runs the command.
    pub(crate) fn run(self, command: &mut Command) -> Result<ExitStatus, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "wxsub", &mut script);
        let mut output = Output::new();
        output.text(&String::from_utf8_lossy(&script));
        Ok(output.end(ExitStatus::Success))
    }
}
