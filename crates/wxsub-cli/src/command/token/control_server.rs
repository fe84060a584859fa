//! The token of a control server.

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

/// What the server hands out.
#[derive(Deserialize)]
struct HandedOut {
    access_token: String,
    expires_in: u64,
    generation: u64,
}

/// Why it hands out nothing.
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
    errcode: Option<ErrCode>,
    #[serde(default)]
    errmsg: String,
    remedy: Option<Remedy>,
}

/// How long an answer is waited for: longer than the server waits for Weixin, 30 s unless told otherwise.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the token is said to come from.
const ENDPOINT: &str = "control_server";

/// The token there is.
pub(super) async fn show(look: &ShowOptions, server: &ControlServer) -> Result<ExitStatus, CliError> {
    let clock = SystemClock::new();
    // A look changes nothing, however it ends.
    let issued = ask(server, "access_token", None, &clock, ExitStatus::NotSent).await?;
    Ok(look.print(&server.appid, ENDPOINT, &issued, clock.now()))
}

/// Says that the token there is no longer works, and takes the one that comes in its place.
pub(super) async fn refresh(look: &ShowOptions, server: &ControlServer) -> Result<ExitStatus, CliError> {
    let clock = SystemClock::new();
    let present = ask(server, "access_token", None, &clock, ExitStatus::NotSent).await?;
    let body = json!({ "access_token": present.token().expose_secret() }).to_string();
    let issued = ask(server, "access_token/report", Some(body.into()), &clock, ExitStatus::MaybeSent).await?;
    Ok(look.print(&server.appid, ENDPOINT, &issued, clock.now()))
}

async fn ask(
    server: &ControlServer,
    route: &str,
    json: Option<Vec<u8>>,
    clock: &SystemClock,
    lost: ExitStatus,
) -> Result<CachedToken, CliError> {
    let asked = clock.now();
    let deadline = asked.mono.after(RESPONSE_TIMEOUT);
    let answered = timeout_at(clock, deadline, server.ask(route, json)).await;
    let late = || CliError::new(lost, "the control server did not answer in time");
    let raw = answered.ok_or_else(late)?.map_err(|error| match error.stage() {
        RequestState::NotSent => CliError::new(
            ExitStatus::NotSent,
            format_args!("the control server was not reached: {error}; it is safe to try again"),
        ),
        RequestState::MaybeSent => {
            CliError::new(lost, format_args!("the control server's answer was lost: {error}"))
        }
    })?;
    if raw.status != 200 {
        return Err(refused(raw.status, raw.body.as_ref()));
    }
    let unreadable = || CliError::new(lost, "the answer cannot be read as a control server's; is it one?");
    let HandedOut { access_token, expires_in, generation } =
        serde_json::from_slice(raw.body.as_ref()).map_err(|_| unreadable())?;
    let token = AccessToken::new(access_token).map_err(|_| unreadable())?;
    Ok(CachedToken::new(token, Generation::new(generation), asked, Duration::from_secs(expires_in)))
}

fn refused(status: u16, body: &[u8]) -> CliError {
    let Problem { detail, errcode, errmsg, remedy } = serde_json::from_slice(body).unwrap_or_default();
    if let Some(errcode) = errcode {
        return CliError::new(ExitStatus::Refused, describe_api_error(&ApiError::new(errcode, &errmsg)));
    }
    let by_status = match status {
        401 | 403 | 404 => Remedy::FixConfig,
        429 => Remedy::SlowDown,
        _ => Remedy::RetryLater,
    };
    let advice = remedy.unwrap_or(by_status).advice();
    CliError::new(
        ExitStatus::NotSent,
        format_args!("the control server answered {status}: {detail}; what to do: {advice}"),
    )
}
