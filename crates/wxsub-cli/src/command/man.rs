//! `wxsub man`: the manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::language::localized;
use crate::output::Output;

/// Print the manual page, or write all pages into a directory.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Manual {
    /// Write one page per command into this directory, which is created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
To read it:     wxsub man | man -l -
To install it:  wxsub man --out ~/.local/share/man/man1   (then: man wxsub, man wxsub-send)";

impl Manual {
    /// Runs the command.
    pub(crate) fn run(self, command: Command) -> Result<ExitStatus, CliError> {
        let mut command = command.disable_help_subcommand(true);
        // Sets the full names of the subcommands.
        command.build();
        match &self.out {
            None => {
                let mut output = Output::new();
                output.text(&text(&page(&command))?);
                Ok(output.end(ExitStatus::Success))
            }
            Some(folder) => write_all(&command, folder),
        }
    }
}

fn page(command: &Command) -> Man {
    Man::new(command.clone()).source(concat!("wxsub ", env!("CARGO_PKG_VERSION")))
}

fn text(page: &Man) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    page.render(&mut bytes).map_err(CliError::unexpected)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes the pages of this command and all its subcommands.
fn write_all(command: &Command, folder: &Path) -> Result<ExitStatus, CliError> {
    fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    let (mut pending, mut written) = (vec![command], 0);
    while let Some(command) = pending.pop() {
        let page = page(command);
        let path = folder.join(page.get_filename());
        fs::write(&path, text(&page)?).map_err(|error| cannot_write(&path, &error))?;
        written += 1;
        pending.extend(command.get_subcommands());
    }
    console::note(localized!(
        "{written} pages written to {folder}",
        "已把 {written} 个手册页写入 {folder}",
        folder = folder.display()
    ));
    Ok(ExitStatus::Success)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(localized!(
        "--out: {path} cannot be written: {error}; choose another directory",
        "--out：{path} 无法写入：{error}；请换一个目录",
        path = path.display()
    ))
}
