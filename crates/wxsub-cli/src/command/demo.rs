//! `wxsub demo`: the whole flow, with a sandbox inside this process and real HTTP.

mod browser;
mod reporter;
mod scenario;
mod setup;

use clap::Args;

use self::reporter::Reporter;
use self::setup::Setup;
use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;

/// Run the whole flow with a built-in sandbox; needs no AppID and no network.
///
/// Every step is checked. Exits with 0 only if all steps succeed.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Print one JSON object per step
    #[arg(long)]
    json: bool,
}

const BEFORE: &str = "\
A Weixin user may allow an app to send ONE message. For the next message the app has to ask again.
This demo runs that flow with a sandbox inside this process. No traffic leaves this machine.";

const AFTER: &str = "\
To try it yourself, run `wxsub sandbox`, then `wxsub consent url`, `wxsub consent verify` and `wxsub send`.";

impl Demo {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        if !self.json {
            BEFORE.lines().for_each(console::note);
        }
        let mut reporter = Reporter::new(self.json);
        let result = match reporter.step("sandbox", Setup::start().await) {
            Ok(setup) => scenario::run(&setup, &mut reporter).await,
            Err(failed) => Err(failed),
        };
        if result.is_err() {
            return Err(CliError::unexpected("a step of the demo failed, which is a bug; please report it"));
        }
        if !self.json {
            console::note(AFTER);
        }
        Ok(reporter.finish())
    }
}
