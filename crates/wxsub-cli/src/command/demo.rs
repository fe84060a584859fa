//! `wxsub demo`: the whole story on a sandbox inside this process, over real HTTP.

mod browser;
mod reporter;
mod scenario;
mod setup;

use clap::Args;

use self::reporter::Teller;
use self::setup::Stage;
use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;

/// Play the whole story, to see what this is about; needs no AppID and no network.
///
/// Every step is checked; ends with 0 only if all of them hold.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Print one JSON object per step
    #[arg(long)]
    json: bool,
}

const BEFORE: &str = "\
A Weixin user may allow an app to send ONE message; for the next one the app has to ask again. Here is how that goes, \
on a Weixin inside this process. Nothing leaves this machine.";

const AFTER: &str = "\
To try it yourself: `wxsub sandbox` runs this Weixin for you; `wxsub link`, `wxsub answer` and `wxsub send` do the steps.";

impl Demo {
    /// Does it.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        if !self.json {
            console::note(BEFORE);
        }
        let mut teller = Teller::new(self.json);
        let ended = match teller.step("sandbox", Stage::set().await) {
            Ok(stage) => scenario::play(&stage, &mut teller).await,
            Err(failed) => Err(failed),
        };
        if ended.is_err() {
            return Err(CliError::unexpected("a step of the demo failed, which is a bug; please report it"));
        }
        if !self.json {
            console::note(AFTER);
        }
        Ok(teller.end())
    }
}
