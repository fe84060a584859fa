//! `wxsub token refresh`: replaces the token, even if it is valid.

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

/// Replace the access token. The current one becomes invalid for all processes.
///
/// wxsub calls Weixin once. With stable_token this is a forced refresh, of which Weixin allows 20 a day. With WXSUB_SERVER, wxsub
/// reports to the control server that the current token does not work, and shows its replacement.
#[derive(Debug, Args)]
pub(super) struct Refresh {
    #[command(flatten)]
    options: ShowOptions,
}

impl Refresh {
    /// Runs the command.
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let backend = Backend::read(self.options.appid.as_deref(), &mut usage);
        let app = match usage.finish(backend)? {
            Backend::Direct(app) => app,
            Backend::ControlServer(server) => return control_server::refresh(&self.options, &server).await,
        };
        app.warn_before_fetch();
        if app.endpoint == TokenEndpoint::StableToken {
            console::warning(
                "a forced refresh invalidates the access token that other processes use; Weixin allows 20 a day",
            );
        }
        let clock = SystemClock::new();
        let requested_at = clock.now();
        let response = fetch(&app).await?;
        let generation = Generation::default().next(requested_at.wall);
        let token = CachedToken::new(response.access_token, generation, requested_at, response.expires_in);
        Ok(self.options.print(&app.appid, app.endpoint.as_str(), &token, clock.now()))
    }
}

/// Fetches a token with one request.
async fn fetch(app: &DirectConfig) -> Result<TokenResponse, CliError> {
    let (appid, secret) = (app.appid.clone(), app.secret.clone());
    let request = match app.endpoint {
        TokenEndpoint::Token => {
            HttpRequest::new(app.bases.first(), TokenRequest::new(appid, secret).encode())
        }
        TokenEndpoint::StableToken => HttpRequest::new(
            app.bases.first(),
            StableTokenRequest::new(appid, secret).force_refresh().encode(),
        ),
    };
    let exchange = app.transport.execute(request.map_err(|error| transport_error(&error))?);
    let raw = exchange.await.map_err(|error| transport_error(&error))?;
    match TokenResponse::parse(raw.status, &raw.body).map_err(|error| invalid_response(&error))? {
        Ok(response) => Ok(response),
        Err(refusal) => Err(refused(&refusal.redact(app.secret.expose_secret()))),
    }
}

fn transport_error(error: &TransportError) -> CliError {
    match error.stage() {
        RequestState::NotSent => {
            CliError::new(ExitStatus::NotSent, format_args!("{error}; it is safe to try again"))
        }
        RequestState::MaybeSent => maybe_replaced(error),
    }
}

fn invalid_response(error: &DecodeError) -> CliError {
    maybe_replaced(format_args!("invalid response: {error}"))
}

fn maybe_replaced(cause: impl std::fmt::Display) -> CliError {
    let line = format_args!(
        "{cause}; a new token may have been issued; check the current token before you repeat this"
    );
    CliError::new(ExitStatus::MaybeSent, line)
}

fn refused(refusal: &ApiError) -> CliError {
    CliError::new(ExitStatus::Refused, describe_api_error(refusal))
}
