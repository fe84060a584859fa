//! `GET …/access_token`, and `POST …/access_token/report` for one that no longer works.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use wxsub_proto::AccessToken;

use super::problem::{Kind, Problem};
use super::{Named, app, json, no_body};
use crate::app::{App, NoOther, Vouched};
use crate::audit::{Action, Door};
use crate::call::{Call, Caller};
use crate::client::Scope;
use crate::house::{House, Told};

/// A token on its way to whoever may have it.
#[derive(Serialize)]
struct Written<'a> {
    access_token: &'a str,
    expires_in: u64,
    generation: u64,
}

/// The token that failed.
#[derive(Deserialize)]
struct Reported {
    access_token: String,
}

pub(super) async fn read(named: Named, call: Call) -> Response {
    let (client, app) = match app(&call, &named, Scope::TokenRead) {
        Ok(found) => found,
        Err((client, problem)) => return denied(&call, call.caller(client), Action::Read, problem),
    };
    let caller = call.caller(Some(client));
    let token = call.in_time(app.token()).await;
    answer(
        &call.house,
        app,
        caller,
        Action::Read,
        token.map_or(Err(NoOther::Late), |token| token.map_err(NoOther::Failed)),
    )
}

pub(super) async fn report(named: Named, call: Call) -> Response {
    let (client, app) = match app(&call, &named, Scope::TokenReport) {
        Ok(found) => found,
        Err((client, problem)) => return denied(&call, call.caller(client), Action::Report, problem),
    };
    let caller = call.caller(Some(client));
    let token = match call.body().await.map_err(no_body).and_then(|body| reported(&body)) {
        Ok(token) => token,
        Err(problem) => return denied(&call, caller, Action::Report, problem),
    };
    let work = app.reported(&client.name, app.generation_of(&token));
    let outcome = call.in_time(work).await.unwrap_or(Err(NoOther::Late));
    answer(&call.house, app, caller, Action::Report, outcome)
}

fn reported(body: &[u8]) -> Result<AccessToken, Problem> {
    let value: serde_json::Value = serde_json::from_slice(body)
        .map_err(|_| Problem::new(Kind::NotJson, "the body must be JSON: {\"access_token\":\"…\"}"))?;
    let read: Reported = serde_json::from_value(value)
        .map_err(|_| Problem::new(Kind::Invalid, "access_token: is missing, or is not text"))?;
    AccessToken::new(read.access_token).map_err(|invalid| Problem::new(Kind::Invalid, invalid.to_string()))
}

fn answer(
    house: &House,
    app: &App,
    caller: Caller<'_>,
    action: Action,
    outcome: Result<Vouched, NoOther>,
) -> Response {
    let told = Told { appid: Some(app.appid()), ..Told::default() };
    let (told, response) = match outcome {
        Ok(vouched) => {
            let generation = vouched.issued.generation().get();
            let access_token = vouched.issued.token().expose();
            let expires_in = vouched.expires_in.as_secs();
            house.metrics().read(Door::Native);
            let told = Told { outcome: "ok", generation: Some(generation), ..told };
            (told, json(&Written { access_token, expires_in, generation }))
        }
        Err(NoOther::Rationed(wait)) => {
            let problem =
                Problem::new(Kind::Rationed, "too many reports; wait and report again if it is still needed");
            (Told { outcome: "rationed", ..told }, problem.after(wait).into_response())
        }
        Err(NoOther::Late) => {
            let problem =
                Problem::new(Kind::NoToken, "no token came in time; the server goes on trying by itself");
            (Told { outcome: "no_token", ..told }, problem.after(Duration::from_secs(5)).into_response())
        }
        Err(NoOther::Failed(error)) => {
            let errcode = error.refusal().map(wxsub_proto::Refusal::errcode);
            (Told { outcome: "no_token", errcode, ..told }, Problem::no_token(&error).into_response())
        }
    };
    if action == Action::Report {
        house.metrics().reported(app.appid(), told.outcome);
    }
    house.tell(Door::Native, action, &caller, &told);
    response
}

fn denied(call: &Call, caller: Caller<'_>, action: Action, problem: Problem) -> Response {
    call.house.tell(Door::Native, action, &caller, &Told { outcome: "denied", ..Told::default() });
    problem.into_response()
}
