//! `wxsub token show`: the token there is.

use clap::Args;
use wxsub_core::token::{Keeper, TokenEndpoint, TokenSource};

use super::{Look, served};
use crate::app::App;
use crate::environment::TOKEN_ENDPOINT;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::send_error::token_told;
use crate::way::Way;
use crate::wrong_usage::WrongUsage;

/// Show remaining life and fingerprint of the access token.
///
/// With WXSUB_SERVER this asks the control server. With stable_token this asks Weixin, which disturbs nobody. /cgi-bin/token cannot be asked without ending the token that
/// others use, so there it takes --fetch.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Fetch from /cgi-bin/token, though that ends the token that others use
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    look: Look,
}

impl Show {
    /// Does it.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut usage = WrongUsage::default();
        let way = Way::read(self.look.appid.as_deref(), &mut usage);
        let classic = matches!(&way, Some(Way::Weixin(app)) if app.endpoint == TokenEndpoint::Token);
        if matches!(way, Some(Way::Server(_))) && self.fetch {
            usage.add("--fetch", "is for tokens from Weixin itself; a control server fetches when it must");
        }
        if classic && !self.fetch {
            usage.add(
                TOKEN_ENDPOINT,
                "is token, and looking would end the access token that other processes use; \
                 add --fetch if you want that, or use stable_token",
            );
        }
        let app = match usage.end(way)? {
            Way::Weixin(app) => app,
            Way::Server(server) => return served::show(&self.look, &server).await,
        };
        app.announce_fetch();
        let App { appid, secret, endpoint, base, transport } = app;
        let keeper =
            Keeper::builder(appid.clone(), secret, transport).api_base(base).endpoint(endpoint).build();
        let issued = keeper.token().await.map_err(|error| {
            let exit = if error.refusal().is_some() { Exit::Refused } else { Exit::NotSent };
            Failure::new(exit, token_told(&error))
        })?;
        Ok(self.look.print(&appid, endpoint.as_str(), &issued, keeper.now()))
    }
}
