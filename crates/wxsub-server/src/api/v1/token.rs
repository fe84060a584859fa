//! `GET …/access_token`, and `POST …/access_token/report` for a token that Weixin rejects.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use wxsub_api::{Problem, ProblemKind, ReportRequest, TokenResponse};
use wxsub_proto::{AccessToken, ApiError};

use super::members::{Members, text};
use super::{AuthorizedClient, ProblemResponse};
use crate::api::request::{Json, RequestContext};
use crate::apps::{ManagedApp, ReportError, ServedToken, TokenDigest};
use crate::state::audit::Action;

#[utoipa::path(
    get,
    path = "/v1/apps/{appid}/access_token",
    operation_id = "read_token",
    summary = "The current token; needs token:read",
    params(("appid" = String, Path)),
    responses(
        (status = 200, body = TokenResponse<'_>, description = "Use it for expires_in seconds, then request it again"),
        (status = 503, body = Problem, description = "No usable token; see Retry-After")
    )
)]
pub(in crate::api) async fn read(
    AuthorizedClient { context, app, .. }: AuthorizedClient,
) -> Result<Response, ProblemResponse> {
    let served = match app.current() {
        Some(current) => Ok(current),
        None => {
            let _permit = context.try_acquire_permit()?;
            // Boxed to keep the future small when there is no wait.
            Box::pin(context.with_timeout(app.token())).await.unwrap_or(Err(ReportError::TimedOut))
        }
    };
    respond(&context, &app, Action::Read, served)
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/access_token/report",
    operation_id = "report_token",
    summary = "Reports a token that Weixin rejects; needs token:read and token:report",
    params(("appid" = String, Path)),
    request_body = ReportRequest<'_>,
    responses(
        (status = 200, body = TokenResponse<'_>, description = "The current token, which differs from the reported one"),
        (status = 422, body = Problem, description = "access_token is missing or invalid"),
        (status = 429, body = Problem, description = "Too many reports, or too many requests at once; see Retry-After"),
        (status = 503, body = Problem, description = "No other token is available; see Retry-After")
    )
)]
pub(in crate::api) async fn report(
    AuthorizedClient { context, client, app }: AuthorizedClient,
    mut members: Members,
) -> Result<Response, ProblemResponse> {
    let token: Option<AccessToken> = members.required("access_token", text);
    // A client may report the response of its read as it is.
    members.ignore_others();
    let token = members.finish(token)?;
    let _permit = context.try_acquire_permit()?;
    let refresh = app.report_invalid(&client.name, app.generation_of(TokenDigest::of(&token)));
    let served = context.with_timeout(refresh).await.unwrap_or(Err(ReportError::TimedOut));
    respond(&context, &app, Action::Report, served)
}

fn respond(
    context: &RequestContext,
    app: &ManagedApp,
    action: Action,
    served: Result<ServedToken, ReportError>,
) -> Result<Response, ProblemResponse> {
    context.record_token(action, app, &served);
    let ServedToken { cached, expires_in } = served.map_err(|error| match error {
        ReportError::RateLimited(wait) => {
            let detail = "too many reports; wait, then report the token again if Weixin still rejects it";
            ProblemResponse::new(ProblemKind::RateLimited, detail).retry_after(wait)
        }
        ReportError::TimedOut => {
            let detail = "no access token in time; retry later: the server keeps trying to fetch one";
            ProblemResponse::new(ProblemKind::NoToken, detail).retry_after(Duration::from_secs(5))
        }
        ReportError::Failed(error) => {
            context.audit(|entry| entry.errcode = error.api_error().map(ApiError::errcode));
            ProblemResponse::no_token(&error)
        }
    })?;
    let (access_token, generation) = (Cow::Borrowed(cached.token()), cached.generation().get());
    let token = TokenResponse { access_token, expires_in: expires_in.as_secs(), generation };
    Ok(Json(token).into_response())
}
