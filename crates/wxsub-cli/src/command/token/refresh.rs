//! `wxsub token refresh`: another token, whatever the present one is worth.

use clap::Args;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::token::{CachedToken, Generation, TokenEndpoint};
use wxsub_core::transport::{HttpRequest, RequestState, TransportError};
use wxsub_proto::ApiError;
use wxsub_proto::codec::DecodeError;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};

use super::{ShowOptions, control_server};
use crate::app::DirectConfig;
use crate::backend::Backend;
use crate::console;
use crate::describe::describe_api_error;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::usage::UsageErrors;

/// Have Weixin issue another access token, which ends the present one for everybody.
///
/// Asks once. With stable_token this is a forced refresh, of which Weixin allows 20 a day. With WXSUB_SERVER it tells the
/// control server that the present token no longer works, and shows the one that it then hands out.
#[derive(Debug, Args)]
pub(super) struct Refresh {
    #[command(flatten)]
    look: ShowOptions,
}

impl Refresh {
    /// Does it.
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let way = Backend::read(self.look.appid.as_deref(), &mut usage);
        let app = match usage.finish(way)? {
            Backend::Weixin(app) => app,
            Backend::Server(server) => return control_server::refresh(&self.look, &server).await,
        };
        app.warn_before_fetch();
        if app.endpoint == TokenEndpoint::StableToken {
            console::warning(
                "a forced refresh ends the access token that other processes use; Weixin allows 20 a day",
            );
        }
        let clock = SystemClock::new();
        let asked = clock.now();
        let reply = fetch(&app).await?;
        let generation = Generation::default().next(asked.wall);
        let issued = CachedToken::new(reply.access_token, generation, asked, reply.expires_in);
        Ok(self.look.print(&app.appid, app.endpoint.as_str(), &issued, clock.now()))
    }
}

/// The one exchange.
async fn fetch(app: &DirectConfig) -> Result<TokenResponse, CliError> {
    let (appid, secret) = (app.appid.clone(), app.secret.clone());
    let outgoing = match app.endpoint {
        TokenEndpoint::Token => {
            HttpRequest::new(app.bases.first(), TokenRequest::new(appid, secret).encode())
        }
        TokenEndpoint::StableToken => HttpRequest::new(
            app.bases.first(),
            StableTokenRequest::new(appid, secret).force_refresh().encode(),
        ),
    };
    let exchange = app.transport.execute(outgoing.map_err(|error| broken(&error))?);
    let raw = exchange.await.map_err(|error| broken(&error))?;
    match TokenResponse::parse(raw.status, &raw.body).map_err(|error| unreadable(&error))? {
        Ok(reply) => Ok(reply),
        Err(refusal) => Err(refused(&refusal.redact(app.secret.expose_secret()))),
    }
}

fn broken(error: &TransportError) -> CliError {
    match error.stage() {
        RequestState::NotSent => {
            CliError::new(ExitStatus::NotSent, format_args!("{error}; it is safe to try again"))
        }
        RequestState::MaybeSent => maybe_done(error),
    }
}

fn unreadable(error: &DecodeError) -> CliError {
    maybe_done(format_args!("unreadable reply: {error}"))
}

fn maybe_done(why: impl std::fmt::Display) -> CliError {
    let line =
        format_args!("{why}; another token may have been issued all the same: look before repeating this");
    CliError::new(ExitStatus::MaybeSent, line)
}

fn refused(refusal: &ApiError) -> CliError {
    CliError::new(ExitStatus::Refused, describe_api_error(refusal))
}
