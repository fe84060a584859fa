//! Gets the token from a control server.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::token::{CachedToken, Generation};
use wxsub_core::transport::RequestState;
use wxsub_proto::{AccessToken, ApiError, ErrCode, Remedy};

use super::ShowOptions;
use crate::control_server::ControlServer;
use crate::describe::describe_api_error;
use crate::error::CliError;
use crate::exit::ExitStatus;

/// A response with a token.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: u64,
    generation: u64,
}

/// A response with an error.
#[derive(Default, Deserialize)]
struct ProblemDetails {
    #[serde(default)]
    detail: String,
    errcode: Option<ErrCode>,
    #[serde(default)]
    errmsg: String,
    remedy: Option<Remedy>,
}

/// Maximum time to wait for a response. The server waits for Weixin for 30 s by default.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Endpoint in the output.
const ENDPOINT: &str = "control_server";

/// Shows the current token.
pub(super) async fn show(options: &ShowOptions, server: &ControlServer) -> Result<ExitStatus, CliError> {
    let clock = SystemClock::new();
    // A read has no effect, so a lost response is not in doubt.
    let token = request(server, "access_token", None, &clock, ExitStatus::NotSent).await?;
    Ok(options.print(&server.appid, ENDPOINT, &token, clock.now()))
}

/// Reports that the current token does not work, and shows its replacement.
pub(super) async fn refresh(options: &ShowOptions, server: &ControlServer) -> Result<ExitStatus, CliError> {
    let clock = SystemClock::new();
    let current = request(server, "access_token", None, &clock, ExitStatus::NotSent).await?;
    let body = json!({ "access_token": current.token().expose_secret() }).to_string();
    let token =
        request(server, "access_token/report", Some(body.into()), &clock, ExitStatus::MaybeSent).await?;
    Ok(options.print(&server.appid, ENDPOINT, &token, clock.now()))
}

/// Sends one request. `lost` is the exit status if the response is lost.
async fn request(
    server: &ControlServer,
    route: &str,
    json: Option<Vec<u8>>,
    clock: &SystemClock,
    lost: ExitStatus,
) -> Result<CachedToken, CliError> {
    let requested_at = clock.now();
    let deadline = requested_at.mono + RESPONSE_TIMEOUT;
    let response = timeout_at(clock, deadline, server.request(route, json)).await;
    let timeout = || CliError::new(lost, "the control server did not respond in time");
    let raw = response.ok_or_else(timeout)?.map_err(|error| match error.stage() {
        RequestState::NotSent => CliError::new(
            ExitStatus::NotSent,
            format_args!("the control server was not reached: {error}; it is safe to try again"),
        ),
        RequestState::MaybeSent => {
            CliError::new(lost, format_args!("the control server's response was lost: {error}"))
        }
    })?;
    if raw.status != 200 {
        return Err(error_response(raw.status, raw.body.as_ref()));
    }
    let invalid = || {
        CliError::new(lost, "invalid response; check that WXSUB_SERVER is the base URL of a control server")
    };
    let TokenResponse { access_token, expires_in, generation } =
        serde_json::from_slice(raw.body.as_ref()).map_err(|_| invalid())?;
    let token = AccessToken::new(access_token).map_err(|_| invalid())?;
    Ok(CachedToken::new(token, Generation::new(generation), requested_at, Duration::from_secs(expires_in)))
}

fn error_response(status: u16, body: &[u8]) -> CliError {
    let ProblemDetails { detail, errcode, errmsg, remedy } = serde_json::from_slice(body).unwrap_or_default();
    if let Some(errcode) = errcode {
        return CliError::new(ExitStatus::Refused, describe_api_error(&ApiError::new(errcode, &errmsg)));
    }
    let default_remedy = match status {
        401 | 403 | 404 => Remedy::FixConfig,
        429 => Remedy::SlowDown,
        _ => Remedy::RetryLater,
    };
    let advice = remedy.unwrap_or(default_remedy).advice();
    CliError::new(
        ExitStatus::NotSent,
        format_args!("the control server responded with {status}: {detail}; what to do: {advice}"),
    )
}
