//! The v1 API, and its extractors, whose rejections are problems as responses.
//!
//! A request carries its key in `Authorization: Bearer`. Internal causes of a problem stay in log and status.

pub(super) mod apps;
pub(super) mod consents;
pub(super) mod decision;
pub(super) mod grants;
mod ledger;
mod lines;
mod members;
pub(super) mod messages;
pub(super) mod outbox;
mod problem;
mod queue;
pub(super) mod token;
pub(super) mod webhooks;

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use wxsub_api::ApiKey;
use wxsub_proto::AppId;

use self::members::Members;
pub(super) use self::problem::{ProblemResponse, not_found, wrong_method};
use super::policy::authorize_for_app;
use super::request::RequestContext;
use crate::apps::{ManagedApp, SharedState};
use crate::config::ApiClient;
use crate::state::audit::Action;
use crate::state::denial::Denial;

/// The client of the request's key and the app of the path. The client may do this with the app.
pub(super) struct AuthorizedClient {
    pub(super) context: RequestContext,
    pub(super) client: Arc<ApiClient>,
    pub(super) app: Arc<ManagedApp>,
}

impl FromRequestParts<SharedState> for AuthorizedClient {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        let authorized = Self::authorize(parts, state).await?;
        // A parameter that is ignored would make the caller believe that it works.
        Members::of_query(parts).finish(Some(authorized))
    }
}

impl AuthorizedClient {
    /// The client of a request whose query the handler reads.
    async fn authorize(parts: &mut Parts, state: &SharedState) -> Result<Self, ProblemResponse> {
        let Ok(context) = RequestContext::from_request_parts(parts, state).await;
        let appid: Option<AppId> = path_param(parts, state, "appid").await.and_then(|text| text.parse().ok());
        context.audit(|entry| entry.appid.clone_from(&appid));
        let action = context.action();
        let authorized =
            authorize_for_app(&context, bearer(&parts.headers), action, appid.as_ref()).map_err(|denial| {
                match denial {
                    Denial::AppNotAllowed | Denial::UnknownApp => {
                        ProblemResponse::denied(denial, action).with_usable_apps(&context)
                    }
                    _ => ProblemResponse::denied(denial, action),
                }
            });
        let admitted = match authorized {
            Ok(authorized) => admit(&context).await.map(|()| authorized),
            Err(denied) => Err(denied),
        };
        match admitted {
            Ok((client, app)) => Ok(Self { context, client, app }),
            // Every response to a message has the members of the result object.
            Err(problem) => Err(if action == Action::Send { problem.not_tried() } else { problem }),
        }
    }
}

/// Waits for the turn of a request of an authorized client, and records that a change starts.
async fn admit(context: &RequestContext) -> Result<(), ProblemResponse> {
    context.admit(context.action()).await?;
    Ok(context.record_start().await?)
}

/// The parameter of the path with this name. `None` also if it cannot be decoded.
async fn path_param(parts: &mut Parts, state: &SharedState, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// The key of `Authorization: Bearer KEY`. Two such headers are ambiguous, so they count as none.
fn bearer(headers: &HeaderMap) -> Result<ApiKey, Denial> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Denial::NoKey) };
    value.to_str().ok().and_then(ApiKey::from_bearer).ok_or(Denial::NoKey)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn bearer_needs_exactly_one_header() {
        let mut headers = HeaderMap::new();
        assert!(bearer(&headers).is_err());
        let value: HeaderValue = format!("Bearer {}", "a".repeat(43)).parse().unwrap();
        headers.append(AUTHORIZATION, value.clone());
        assert!(bearer(&headers).is_ok());
        headers.append(AUTHORIZATION, value);
        assert!(bearer(&headers).is_err());
    }
}
