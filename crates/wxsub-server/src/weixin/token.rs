//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token`: the current token, for a client key where the AppSecret was.

use axum::response::Response;
use serde::Serialize;
use wxsub_core::token::ClientKey;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::TokenRequest;
use wxsub_proto::{AppId, AppSecret};

use super::answer::{Answer, json};
use super::full;
use crate::app::{App, NoOther, Vouched};
use crate::audit::{Action, Door};
use crate::call::Call;
use crate::client::{Client, Scope};
use crate::house::Told;

/// As Weixin writes it.
#[derive(Serialize)]
struct Written<'a> {
    access_token: &'a str,
    expires_in: u64,
}

/// What a client wants.
struct Wanted {
    appid: AppId,
    key: AppSecret,
    /// A report, in the only words an SDK has for it.
    forced: bool,
}

pub(super) async fn read(call: Call) -> Response {
    let query = TokenRequest::decode(call.head.uri.query().unwrap_or_default());
    let wanted = query.map(|read| Wanted { appid: read.appid, key: read.secret, forced: false });
    answer(&call, wanted.map_err(|invalid| Answer::invalid(&invalid))).await
}

pub(super) async fn read_stable(call: Call) -> Response {
    // The key stands in it: whoever has not shown one yet takes no place from those who have.
    let body = call.body().await.map_err(Answer::no_body);
    let Some(_in_flight) = call.house.enter() else { return full() };
    let wanted = body.and_then(|body| {
        let read = StableTokenRequest::decode(&body).map_err(|invalid| Answer::invalid(&invalid))?;
        Ok(Wanted { appid: read.appid, key: read.secret, forced: read.force_refresh })
    });
    answer(&call, wanted).await
}

async fn answer(call: &Call, wanted: Result<Wanted, Answer>) -> Response {
    let forced = wanted.as_ref().is_ok_and(|wanted| wanted.forced);
    let action = if forced { Action::Report } else { Action::Read };
    let (client, served) = match &wanted {
        Ok(wanted) => serve(call, wanted).await,
        Err(answer) => (None, Err((answer.clone(), "denied"))),
    };
    let caller = call.caller(client);
    let told = Told { appid: wanted.as_ref().ok().map(|wanted| &wanted.appid), ..Told::default() };
    match served {
        Ok(vouched) => {
            let generation = Some(vouched.issued.generation().get());
            call.house.tell(Door::Weixin, action, &caller, &Told { outcome: "ok", generation, ..told });
            call.house.metrics().read(Door::Weixin);
            let access_token = vouched.issued.token().expose();
            json(&Written { access_token, expires_in: vouched.expires_in.as_secs() })
        }
        Err((answer, outcome)) => {
            let told = Told { outcome, errcode: Some(answer.errcode), ..told };
            call.house.tell(Door::Weixin, action, &caller, &told);
            answer.written()
        }
    }
}

type Served<'a> = (Option<&'a Client>, Result<Vouched, (Answer, &'static str)>);

async fn serve<'a>(call: &'a Call, wanted: &Wanted) -> Served<'a> {
    let Some(client) = call.client(ClientKey::new(wanted.key.expose()).ok().as_ref()) else {
        return (None, Err((Answer::unknown_key(), "denied")));
    };
    let app = call.snapshot.apps.get(&wanted.appid).filter(|app| client.has(app.appid()));
    let Some(app) = app else { return (Some(client), Err((Answer::unknown_app(), "denied"))) };
    let needed = if wanted.forced { Scope::TokenReport } else { Scope::TokenRead };
    // A report brings a token too.
    if let Some(lacking) = [Scope::TokenRead, needed].into_iter().find(|scope| !client.may(*scope)) {
        return (Some(client), Err((Answer::no_scope(lacking.as_str()), "denied")));
    }
    let token = call.in_time(token(call, client, app, wanted.forced)).await.unwrap_or(Err(NoOther::Late));
    if wanted.forced {
        let result = match &token {
            Ok(_) => "ok",
            Err(NoOther::Rationed(_)) => "rate_limited",
            Err(NoOther::Failed(_) | NoOther::Late) => "no_token",
        };
        call.house.metrics().reported(app.appid(), result);
    }
    let handed = token.map_err(|reason| {
        let outcome = if matches!(reason, NoOther::Rationed(_)) { "rate_limited" } else { "no_token" };
        (Answer::no_token(&reason), outcome)
    });
    let handed = handed.inspect(|vouched| app.memory.hand(&client.name, vouched, call.house.clock().now()));
    (Some(client), handed)
}

async fn token(call: &Call, client: &Client, app: &App, forced: bool) -> Result<Vouched, NoOther> {
    let current = app.current();
    if forced {
        // What it was handed last is what it finds wanting; and if it was handed nothing yet, what everybody has.
        let held = current.as_ref().map(|current| current.issued.generation());
        return app.reported(&client.name, app.memory.handed(&client.name).or(held)).await;
    }
    if let Some(current) = current {
        let now = call.house.clock().now();
        if !app.memory.need_not_ask(&client.name, current.issued.generation(), now) {
            return Ok(current);
        }
        // It may have seen a 40001, and has no other way to say so.
        app.probe.check(&app.keeper, current.issued).await;
    }
    app.token().await.map_err(NoOther::Failed)
}
