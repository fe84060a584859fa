//! `POST …/consents`: signs a request for a user's consent.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use wxsub_api::{IssuedConsent, NewConsent, ProblemKind};
use wxsub_core::ConsentVerifier;
use wxsub_core::rfc3339;
use wxsub_proto::{HttpUrl, ValidationError};

use super::ProblemResponse;
use super::ledger::OutboxClient;
use super::members::{Members, invalid_field, scene, session, text};
use crate::api::request::json_response;

impl OutboxClient {
    /// Signs and verifies with the keys of the configuration.
    pub(super) fn verifier(&self) -> Result<ConsentVerifier, ProblemResponse> {
        let keys = self.context.snapshot().consent.as_ref().ok_or_else(|| {
            self.context.audit(|entry| entry.outcome = "no_consent_key");
            let detail = "this server has no key to sign a consent with; add [consent] to its configuration";
            ProblemResponse::new(ProblemKind::NoConsentKey, detail)
        })?;
        let verifier = ConsentVerifier::new(self.app.appid().clone(), keys.current.clone())
            .clock(Arc::clone(self.context.state().clock()));
        Ok(match &keys.previous {
            Some(previous) => verifier.with_previous_key(previous.clone()),
            None => verifier,
        })
    }
}

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/consents",
    operation_id = "issue_consent",
    summary = "Signs a request for consent; needs consent",
    params(("appid" = String, Path)),
    request_body = NewConsent,
    responses(
        (status = 201, body = IssuedConsent, description = "The signed request")
    )
)]
pub(in crate::api) async fn issue(
    client: OutboxClient,
    mut members: Members,
) -> Result<Response, ProblemResponse> {
    let scene = members.required("scene", scene);
    let template_id = members.required("template_id", text);
    let session = members.required("session", session);
    let redirect_url: Option<HttpUrl> = members.optional("redirect_url", text);
    let asked = scene.zip(template_id).zip(session);
    let ((scene, template_id), session) = members.finish(asked)?;
    let verifier = client.verifier()?;
    let expires_at = verifier.expires_at();
    let request = verifier
        .issue(template_id, scene, &session)
        .map_err(|error| ProblemResponse::new(ProblemKind::Overloaded, error.to_string()))?;
    let base = client.context.snapshot().consent.as_ref().and_then(|consent| consent.page.as_ref());
    let page = |redirect| {
        let url = request.consent_url(redirect)?;
        Ok(base.map_or(url, |base| url.with_base_url(base)).to_string())
    };
    let url = redirect_url.as_ref().map(page).transpose();
    let url = url.map_err(|problem: ValidationError| invalid_field("redirect_url", problem.to_string()))?;
    let mobile = serde_json::to_value(&request).unwrap_or_default();
    let Some(reserved) = request.reserved else {
        return Err(ProblemResponse::new(ProblemKind::Overloaded, "the request was not signed; try again"));
    };
    client.context.audit(|entry| entry.outcome = "ok");
    let issued = IssuedConsent { reserved, url, mobile, expires_at: rfc3339::format(expires_at) };
    Ok(json_response(StatusCode::CREATED, "application/json", &issued))
}
