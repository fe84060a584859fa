//! The token of a control server.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use wxsub_core::clock::{Clock, SystemClock, until};
use wxsub_core::token::{Generation, Issued};
use wxsub_core::transport::Stage;
use wxsub_proto::{AccessToken, ErrCode, Refusal, Remedy};

use super::Look;
use crate::control_server::ControlServer;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::send_error::refusal_told;

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
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the token is said to come from.
const ENDPOINT: &str = "control_server";

/// The token there is.
pub(super) async fn show(look: &Look, server: &ControlServer) -> Result<Exit, Failure> {
    let clock = SystemClock::new();
    // A look changes nothing, however it ends.
    let issued = ask(server, "access_token", None, &clock, Exit::NotSent).await?;
    Ok(look.print(&server.appid, ENDPOINT, &issued, clock.now()))
}

/// Says that the token there is no longer works, and takes the one that comes in its place.
pub(super) async fn refresh(look: &Look, server: &ControlServer) -> Result<Exit, Failure> {
    let clock = SystemClock::new();
    let present = ask(server, "access_token", None, &clock, Exit::NotSent).await?;
    let body = json!({ "access_token": present.token().expose() }).to_string();
    let issued = ask(server, "access_token/report", Some(body.into()), &clock, Exit::MaybeSent).await?;
    Ok(look.print(&server.appid, ENDPOINT, &issued, clock.now()))
}

async fn ask(
    server: &ControlServer,
    route: &str,
    json: Option<Vec<u8>>,
    clock: &SystemClock,
    lost: Exit,
) -> Result<Issued, Failure> {
    let asked = clock.now();
    let deadline = asked.mono.after(PATIENCE);
    let answered = until(clock, deadline, server.ask(route, json)).await;
    let late = || Failure::new(lost, "the control server did not answer in time");
    let raw = answered.ok_or_else(late)?.map_err(|error| match error.stage() {
        Stage::BeforeSending => Failure::new(
            Exit::NotSent,
            format_args!("the control server was not reached: {error}; it is safe to try again"),
        ),
        Stage::MaybeSent => Failure::new(lost, format_args!("the control server's answer was lost: {error}")),
    })?;
    if raw.status != 200 {
        return Err(refused(raw.status, raw.body.as_ref()));
    }
    let unreadable = || Failure::new(lost, "the answer cannot be read as a control server's; is it one?");
    let HandedOut { access_token, expires_in, generation } =
        serde_json::from_slice(raw.body.as_ref()).map_err(|_| unreadable())?;
    let token = AccessToken::new(access_token).map_err(|_| unreadable())?;
    Ok(Issued::new(token, Generation::new(generation), asked, Duration::from_secs(expires_in)))
}

fn refused(status: u16, body: &[u8]) -> Failure {
    let Problem { detail, errcode, errmsg, remedy } = serde_json::from_slice(body).unwrap_or_default();
    if let Some(errcode) = errcode {
        return Failure::new(Exit::Refused, refusal_told(&Refusal::new(errcode, &errmsg)));
    }
    let by_status = match status {
        401 | 403 | 404 => Remedy::FixConfig,
        429 => Remedy::SlowDown,
        _ => Remedy::RetryLater,
    };
    let advice = remedy.unwrap_or(by_status).advice();
    Failure::new(
        Exit::NotSent,
        format_args!("the control server answered {status}: {detail}; what to do: {advice}"),
    )
}
