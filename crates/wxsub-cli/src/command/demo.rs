//! `wxsub demo`: the whole story on a sandbox inside this process, over real HTTP.

mod browser;
mod stage;
mod story;
mod teller;

use clap::Args;

use self::stage::Stage;
use self::teller::Teller;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::talk;

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
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        if !self.json {
            talk::note(BEFORE);
        }
        let mut teller = Teller::new(self.json);
        let ended = match teller.step("sandbox", Stage::set().await) {
            Ok(stage) => story::play(&stage, &mut teller).await,
            Err(failed) => Err(failed),
        };
        if ended.is_err() {
            return Err(Failure::unexpected("a step of the demo failed, which is a bug; please report it"));
        }
        if !self.json {
            talk::note(AFTER);
        }
        Ok(teller.end())
    }
}
