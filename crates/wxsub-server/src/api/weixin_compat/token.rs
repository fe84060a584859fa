//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token`: the current token. The client key takes the place of the AppSecret.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::{Serialize, Serializer};
use wxsub_api::ApiKey;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::TokenRequest;
use wxsub_proto::{AppId, AppSecret, ValidationError};

use super::WeixinResponse;
use crate::api::policy::authorize_for_app;
use crate::api::request::{Json, RequestContext};
use crate::apps::{ManagedApp, ReportError, ServedToken, ServerState};
use crate::config::ApiClient;
use crate::state::audit::Action;
use crate::state::denial::Denial;

/// A served token in Weixin's format. It is serialized without a copy.
pub(in crate::api) struct TokenBody(ServedToken);

impl Serialize for TokenBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct TokenResponse<'a> {
            access_token: &'a str,
            expires_in: u64,
        }
        let ServedToken { cached, expires_in } = &self.0;
        TokenResponse { access_token: cached.token().expose_secret(), expires_in: expires_in.as_secs() }
            .serialize(serializer)
    }
}

/// A client and the app whose token it may have.
struct Caller {
    context: RequestContext,
    client: Arc<ApiClient>,
    app: Arc<ManagedApp>,
    /// Read, or report: an SDK can report a token only by `force_refresh`.
    action: Action,
}

/// The caller that the query names. An axum extractor.
pub(in crate::api) struct QueryCaller(Caller);

/// The caller that the body names. An axum extractor.
pub(in crate::api) struct BodyCaller(Caller);

impl FromRequestParts<Arc<ServerState>> for QueryCaller {
    type Rejection = WeixinResponse;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<ServerState>) -> Result<Self, WeixinResponse> {
        let Ok(context) = RequestContext::from_request_parts(parts, state).await;
        let request = TokenRequest::decode(parts.uri.query().unwrap_or_default());
        let request = request.map_err(|invalid| rejected(&context, &invalid))?;
        Caller::authorize(context, &request.appid, &request.secret, false).await.map(Self)
    }
}

impl FromRequest<Arc<ServerState>> for BodyCaller {
    type Rejection = WeixinResponse;

    async fn from_request(request: Request, state: &Arc<ServerState>) -> Result<Self, WeixinResponse> {
        let (context, body) = RequestContext::read_body(request, state).await;
        let body = body.map_err(|reason| WeixinResponse::from(reason).audited(&context))?;
        let request = StableTokenRequest::decode(&body).map_err(|invalid| rejected(&context, &invalid))?;
        if request.force_refresh {
            context.audit(|entry| entry.action = Action::Report);
        }
        Caller::authorize(context, &request.appid, &request.secret, request.force_refresh).await.map(Self)
    }
}

fn rejected(context: &RequestContext, invalid: &ValidationError) -> WeixinResponse {
    WeixinResponse::invalid(invalid).audited(context)
}

/// `GET /cgi-bin/token`.
pub(in crate::api) async fn read(
    QueryCaller(caller): QueryCaller,
) -> Result<Json<TokenBody>, WeixinResponse> {
    caller.respond().await
}

/// `POST /cgi-bin/stable_token`.
pub(in crate::api) async fn read_stable(
    BodyCaller(caller): BodyCaller,
) -> Result<Json<TokenBody>, WeixinResponse> {
    caller.respond().await
}

impl Caller {
    /// Checks the key, the app and the scopes. Waits for the turn of the client.
    async fn authorize(
        context: RequestContext,
        appid: &AppId,
        key: &AppSecret,
        force_refresh: bool,
    ) -> Result<Self, WeixinResponse> {
        context.audit(|entry| entry.appid = Some(appid.clone()));
        let action = if force_refresh { Action::Report } else { Action::Read };
        // An AppSecret is no key.
        let key = ApiKey::new(key.expose_secret()).map_err(|_| Denial::UnknownKey);
        let (client, app) = authorize_for_app(&context, key, action, Some(appid))
            .map_err(|denial| WeixinResponse::denied(denial, action).audited(&context))?;
        context.admit().await.map_err(|limit| WeixinResponse::from(limit).audited(&context))?;
        Ok(Self { context, client, app, action })
    }

    async fn respond(self) -> Result<Json<TokenBody>, WeixinResponse> {
        let Self { context, client, app, action } = self;
        let _permit =
            context.try_acquire_permit().map_err(|limit| WeixinResponse::from(limit).audited(&context))?;
        let work = app.token_or_probe(&client.name, action == Action::Report);
        let served = context.with_timeout(work).await.unwrap_or(Err(ReportError::TimedOut));
        context.record_token(action, &app, &served);
        match served {
            Ok(served) => Ok(Json(TokenBody(served))),
            Err(reason) => Err(WeixinResponse::no_token(&reason).audited(&context)),
        }
    }
}
