//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token`: the current token. The client key takes the place of the AppSecret.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wxsub_api::ApiKey;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::TokenRequest;

use super::WeixinResponse;
use crate::api::policy::authorize_for_app;
use crate::api::request::{Json, RequestContext};
use crate::apps::{ManagedApp, ReportError, ServedToken, SharedState};
use crate::config::ApiClient;
use crate::state::audit::Action;
use crate::state::denial::Denial;

/// A served token in Weixin's format.
#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    expires_in: u64,
}

/// A client and the app whose token it may have. An axum extractor.
pub(in crate::api) struct Caller {
    context: RequestContext,
    client: Arc<ApiClient>,
    app: Arc<ManagedApp>,
    /// Read, or report: an SDK can report a token only by `force_refresh`.
    action: Action,
}

impl FromRequest<SharedState> for Caller {
    type Rejection = WeixinResponse;

    /// The body of a `POST` names the caller, or else the query. Checks the key, the app and the scopes, and waits for the turn of
    /// the client.
    async fn from_request(request: Request, state: &SharedState) -> Result<Self, WeixinResponse> {
        let (context, named) = if request.method() == Method::POST {
            let (context, body) = RequestContext::read_body(request, state).await;
            let body = body.map_err(|reason| WeixinResponse::from(reason).audited(&context))?;
            let named = StableTokenRequest::decode(&body);
            (context, named.map(|named| (named.appid, named.secret, named.force_refresh)))
        } else {
            let (mut parts, _) = request.into_parts();
            let Ok(context) = RequestContext::from_request_parts(&mut parts, state).await;
            let named = TokenRequest::decode(parts.uri.query().unwrap_or_default());
            (context, named.map(|named| (named.appid, named.secret, false)))
        };
        let (appid, key, force_refresh) =
            named.map_err(|invalid| WeixinResponse::invalid(&invalid).audited(&context))?;
        let action = if force_refresh { Action::Report } else { Action::Read };
        context.audit(|entry| (entry.appid, entry.action) = (Some(appid.clone()), action));
        // An AppSecret is no key.
        let key = ApiKey::new(key.expose_secret()).map_err(|_| Denial::UnknownKey);
        let (client, app) = authorize_for_app(&context, key, action, Some(&appid))
            .map_err(|denial| WeixinResponse::denied(denial, action).audited(&context))?;
        context.admit(action).await.map_err(|limit| WeixinResponse::from(limit).audited(&context))?;
        context.record_start().await?;
        Ok(Self { context, client, app, action })
    }
}

/// The current token.
pub(in crate::api) async fn read(
    Caller { context, client, app, action }: Caller,
) -> Result<Response, WeixinResponse> {
    let _permit =
        context.try_acquire_permit().map_err(|limit| WeixinResponse::from(limit).audited(&context))?;
    let work = app.token_or_probe(&client.name, action == Action::Report);
    let served = context.with_timeout(work).await.unwrap_or(Err(ReportError::TimedOut));
    context.record_token(action, &app, &served);
    let ServedToken { cached, expires_in } =
        served.map_err(|reason| WeixinResponse::no_token(&reason).audited(&context))?;
    let access_token = cached.token().expose_secret();
    Ok(Json(TokenResponse { access_token, expires_in: expires_in.as_secs() }).into_response())
}
