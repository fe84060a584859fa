//! `wxsub token show`: the token there is.

use clap::Args;
use wxsub_core::token::{TokenCache, TokenEndpoint, TokenSource};

use super::{ShowOptions, control_server};
use crate::app::DirectConfig;
use crate::backend::Backend;
use crate::describe::describe_token_error;
use crate::environment::TOKEN_ENDPOINT;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::usage::UsageErrors;

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
    look: ShowOptions,
}

impl Show {
    /// Does it.
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let way = Backend::read(self.look.appid.as_deref(), &mut usage);
        let classic = matches!(&way, Some(Backend::Weixin(app)) if app.endpoint == TokenEndpoint::Token);
        if matches!(way, Some(Backend::Server(_))) && self.fetch {
            usage.add("--fetch", "is for tokens from Weixin itself; a control server fetches when it must");
        }
        if classic && !self.fetch {
            usage.add(
                TOKEN_ENDPOINT,
                "is token, and looking would end the access token that other processes use; \
                 add --fetch if you want that, or use stable_token",
            );
        }
        let app = match usage.finish(way)? {
            Backend::Weixin(app) => app,
            Backend::Server(server) => return control_server::show(&self.look, &server).await,
        };
        app.warn_before_fetch();
        let DirectConfig { appid, secret, endpoint, bases, transport } = app;
        let keeper =
            TokenCache::builder(appid.clone(), secret, transport).api_bases(bases).endpoint(endpoint).build();
        let issued = keeper.token().await.map_err(|error| {
            let exit = if error.refusal().is_some() { ExitStatus::Refused } else { ExitStatus::NotSent };
            CliError::new(exit, describe_token_error(&error))
        })?;
        Ok(self.look.print(&appid, endpoint.as_str(), &issued, keeper.now()))
    }
}
