//! `wxsub token show`: the current token.

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

/// Show the remaining lifetime and the fingerprint of the access token.
///
/// With WXSUB_SERVER the token comes from the control server. With stable_token it comes from Weixin, and the current token stays
/// valid. A fetch from /cgi-bin/token invalidates the token that other processes use, so it needs --fetch.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Fetch from /cgi-bin/token, which invalidates the token that other processes use
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    options: ShowOptions,
}

impl Show {
    /// Runs the command.
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let backend = Backend::read(self.options.appid.as_deref(), &mut usage);
        let is_classic =
            matches!(&backend, Some(Backend::Direct(app)) if app.endpoint == TokenEndpoint::Token);
        if matches!(backend, Some(Backend::ControlServer(_))) && self.fetch {
            usage.add("--fetch", "cannot be used with a control server, which fetches tokens itself");
        }
        if is_classic && !self.fetch {
            usage.add(
                TOKEN_ENDPOINT,
                "is token, where a fetch invalidates the access token that other processes use; \
                 add --fetch to fetch anyway, or use stable_token",
            );
        }
        let app = match usage.finish(backend)? {
            Backend::Direct(app) => app,
            Backend::ControlServer(server) => return control_server::show(&self.options, &server).await,
        };
        app.warn_before_fetch();
        let DirectConfig { appid, secret, endpoint, bases, transport } = app;
        let cache =
            TokenCache::builder(appid.clone(), secret, transport).api_bases(bases).endpoint(endpoint).build();
        let token = cache.token().await.map_err(|error| {
            let exit = if error.api_error().is_some() { ExitStatus::Refused } else { ExitStatus::NotSent };
            CliError::new(exit, describe_token_error(&error))
        })?;
        Ok(self.options.print(&appid, endpoint.as_str(), &token, cache.now()))
    }
}
