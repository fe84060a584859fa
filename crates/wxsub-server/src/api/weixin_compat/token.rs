//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token`: the current token. The client key takes the place of the AppSecret.

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

/// A token in Weixin's format.
#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    expires_in: u64,
}

/// The parameters of a token request.
struct TokenQuery {
    appid: AppId,
    key: AppSecret,
    /// Whether this is a report. An SDK can report a token only by `force_refresh`.
    force_refresh: bool,
}

pub(super) async fn read(context: RequestContext) -> Response {
    let query = TokenRequest::decode(context.head.uri.query().unwrap_or_default());
    let query =
        query.map(|request| TokenQuery { appid: request.appid, key: request.secret, force_refresh: false });
    respond(&context, query.map_err(|invalid| WeixinResponse::invalid(&invalid))).await
}

pub(super) async fn read_stable(context: RequestContext) -> Response {
    // The key is in the body. The permit is taken afterwards, so that requests without a key cannot use up the permits.
    let body = context.body().await.map_err(WeixinResponse::body_error);
    let Some(_permit) = context.state.try_acquire_permit() else { return overloaded() };
    let query = body.and_then(|body| {
        let request =
            StableTokenRequest::decode(&body).map_err(|invalid| WeixinResponse::invalid(&invalid))?;
        Ok(TokenQuery { appid: request.appid, key: request.secret, force_refresh: request.force_refresh })
    });
    respond(&context, query).await
}

async fn respond(context: &RequestContext, query: Result<TokenQuery, WeixinResponse>) -> Response {
    let force_refresh = query.as_ref().is_ok_and(|query| query.force_refresh);
    let action = if force_refresh { Action::Report } else { Action::Read };
    let (client, served) = match &query {
        Ok(query) => serve(context, query).await,
        Err(response) => (None, Err((response.clone(), "denied"))),
    };
    let caller = context.caller(client);
    let audit =
        AuditOutcome { appid: query.as_ref().ok().map(|query| &query.appid), ..AuditOutcome::default() };
    match served {
        Ok(served) => {
            let generation = Some(served.cached.generation().get());
            context.state.record_audit(
                ApiSurface::Weixin,
                action,
                &caller,
                &AuditOutcome { outcome: "ok", generation, ..audit },
            );
            context.state.metrics().record_read(ApiSurface::Weixin);
            let access_token = served.cached.token().expose_secret();
            json(&TokenResponse { access_token, expires_in: served.expires_in.as_secs() })
        }
        Err((response, outcome)) => {
            let audit = AuditOutcome { outcome, errcode: Some(response.errcode), ..audit };
            context.state.record_audit(ApiSurface::Weixin, action, &caller, &audit);
            response.into_response()
        }
    }
}

type Served<'a> = (Option<&'a ApiClient>, Result<ServedToken, (WeixinResponse, &'static str)>);

async fn serve<'a>(context: &'a RequestContext, query: &TokenQuery) -> Served<'a> {
    let Some(client) = context.client(ApiKey::new(query.key.expose_secret()).ok().as_ref()) else {
        return (None, Err((WeixinResponse::unknown_key(), "denied")));
    };
    let app = context.snapshot.apps.get(&query.appid).filter(|app| client.can_access(app.appid()));
    let Some(app) = app else { return (Some(client), Err((WeixinResponse::unknown_app(), "denied"))) };
    let required = if query.force_refresh { Scope::TokenReport } else { Scope::TokenRead };
    // A report returns a token too, so it needs both scopes.
    if let Some(missing) = [Scope::TokenRead, required].into_iter().find(|scope| !client.has_scope(*scope)) {
        return (Some(client), Err((WeixinResponse::no_scope(missing.as_str()), "denied")));
    }
    let token = context
        .with_timeout(token(context, client, app, query.force_refresh))
        .await
        .unwrap_or(Err(ReportError::TimedOut));
    if query.force_refresh {
        let result = match &token {
            Ok(_) => "ok",
            Err(ReportError::RateLimited(_)) => "rate_limited",
            Err(ReportError::Failed(_) | ReportError::TimedOut) => "no_token",
        };
        context.state.metrics().record_report(app.appid(), result);
    }
    let served = token.map_err(|reason| {
        let outcome = if matches!(reason, ReportError::RateLimited(_)) { "rate_limited" } else { "no_token" };
        (WeixinResponse::no_token(&reason), outcome)
    });
    let served =
        served.inspect(|served| app.history.record_served(&client.name, served, context.state.clock().now()));
    (Some(client), served)
}

async fn token(
    context: &RequestContext,
    client: &ApiClient,
    app: &ManagedApp,
    force_refresh: bool,
) -> Result<ServedToken, ReportError> {
    let current = app.current();
    if force_refresh {
        // The client rejects the token that it was served last, or the current one if it was served none.
        let held = current.as_ref().map(|current| current.cached.generation());
        return app.report_invalid(&client.name, app.history.last_served(&client.name).or(held)).await;
    }
    if let Some(current) = current {
        let now = context.state.clock().now();
        if !app.history.within_ttl(&client.name, current.cached.generation(), now) {
            return Ok(current);
        }
        // The client requests again before the ttl is over: it may have seen a 40001, and can signal that only this way.
        app.probe.check(&app.token_cache, current.cached).await;
    }
    app.token().await.map_err(ReportError::Failed)
}
