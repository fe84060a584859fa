//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token`: the current token, for a client key where the AppSecret was.

use axum::response::Response;
use serde::Serialize;
use wxsub_core::token::ApiKey;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::TokenRequest;
use wxsub_proto::{AppId, AppSecret};

use super::overloaded;
use super::response::{WeixinResponse, json};
use crate::app::{ManagedApp, ReportError, ServedToken};
use crate::audit::{Action, ApiSurface};
use crate::client::{ApiClient, Scope};
use crate::context::RequestContext;
use crate::state::AuditOutcome;

/// As Weixin writes it.
#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    expires_in: u64,
}

/// What a client wants.
struct TokenQuery {
    appid: AppId,
    key: AppSecret,
    /// A report, in the only words an SDK has for it.
    forced: bool,
}

pub(super) async fn read(call: RequestContext) -> Response {
    let query = TokenRequest::decode(call.head.uri.query().unwrap_or_default());
    let wanted = query.map(|read| TokenQuery { appid: read.appid, key: read.secret, forced: false });
    answer(&call, wanted.map_err(|invalid| WeixinResponse::invalid(&invalid))).await
}

pub(super) async fn read_stable(call: RequestContext) -> Response {
    // The key stands in it: whoever has not shown one yet takes no place from those who have.
    let body = call.body().await.map_err(WeixinResponse::no_body);
    let Some(_in_flight) = call.house.try_acquire_permit() else { return overloaded() };
    let wanted = body.and_then(|body| {
        let read = StableTokenRequest::decode(&body).map_err(|invalid| WeixinResponse::invalid(&invalid))?;
        Ok(TokenQuery { appid: read.appid, key: read.secret, forced: read.force_refresh })
    });
    answer(&call, wanted).await
}

async fn answer(call: &RequestContext, wanted: Result<TokenQuery, WeixinResponse>) -> Response {
    let forced = wanted.as_ref().is_ok_and(|wanted| wanted.forced);
    let action = if forced { Action::Report } else { Action::Read };
    let (client, served) = match &wanted {
        Ok(wanted) => serve(call, wanted).await,
        Err(answer) => (None, Err((answer.clone(), "denied"))),
    };
    let caller = call.caller(client);
    let told =
        AuditOutcome { appid: wanted.as_ref().ok().map(|wanted| &wanted.appid), ..AuditOutcome::default() };
    match served {
        Ok(vouched) => {
            let generation = Some(vouched.issued.generation().get());
            call.house.record_audit(
                ApiSurface::Weixin,
                action,
                &caller,
                &AuditOutcome { outcome: "ok", generation, ..told },
            );
            call.house.metrics().read(ApiSurface::Weixin);
            let access_token = vouched.issued.token().expose_secret();
            json(&TokenResponse { access_token, expires_in: vouched.expires_in.as_secs() })
        }
        Err((answer, outcome)) => {
            let told = AuditOutcome { outcome, errcode: Some(answer.errcode), ..told };
            call.house.record_audit(ApiSurface::Weixin, action, &caller, &told);
            answer.into_response()
        }
    }
}

type Served<'a> = (Option<&'a ApiClient>, Result<ServedToken, (WeixinResponse, &'static str)>);

async fn serve<'a>(call: &'a RequestContext, wanted: &TokenQuery) -> Served<'a> {
    let Some(client) = call.client(ApiKey::new(wanted.key.expose_secret()).ok().as_ref()) else {
        return (None, Err((WeixinResponse::unknown_key(), "denied")));
    };
    let app = call.snapshot.apps.get(&wanted.appid).filter(|app| client.can_access(app.appid()));
    let Some(app) = app else { return (Some(client), Err((WeixinResponse::unknown_app(), "denied"))) };
    let needed = if wanted.forced { Scope::TokenReport } else { Scope::TokenRead };
    // A report brings a token too.
    if let Some(lacking) = [Scope::TokenRead, needed].into_iter().find(|scope| !client.has_scope(*scope)) {
        return (Some(client), Err((WeixinResponse::no_scope(lacking.as_str()), "denied")));
    }
    let token = call
        .with_timeout(token(call, client, app, wanted.forced))
        .await
        .unwrap_or(Err(ReportError::TimedOut));
    if wanted.forced {
        let result = match &token {
            Ok(_) => "ok",
            Err(ReportError::Rationed(_)) => "rate_limited",
            Err(ReportError::Failed(_) | ReportError::TimedOut) => "no_token",
        };
        call.house.metrics().reported(app.appid(), result);
    }
    let handed = token.map_err(|reason| {
        let outcome = if matches!(reason, ReportError::Rationed(_)) { "rate_limited" } else { "no_token" };
        (WeixinResponse::no_token(&reason), outcome)
    });
    let handed =
        handed.inspect(|vouched| app.memory.record_served(&client.name, vouched, call.house.clock().now()));
    (Some(client), handed)
}

async fn token(
    call: &RequestContext,
    client: &ApiClient,
    app: &ManagedApp,
    forced: bool,
) -> Result<ServedToken, ReportError> {
    let current = app.current();
    if forced {
        // What it was handed last is what it finds wanting; and if it was handed nothing yet, what everybody has.
        let held = current.as_ref().map(|current| current.issued.generation());
        return app.report_invalid(&client.name, app.memory.last_served(&client.name).or(held)).await;
    }
    if let Some(current) = current {
        let now = call.house.clock().now();
        if !app.memory.within_ttl(&client.name, current.issued.generation(), now) {
            return Ok(current);
        }
        // It may have seen a 40001, and has no other way to say so.
        app.probe.check(&app.keeper, current.issued).await;
    }
    app.token().await.map_err(ReportError::Failed)
}
