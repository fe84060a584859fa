//! The grants of an app: record a consent, list those of a user, void one.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use wxsub_api::{NewGrant, Problem, ProblemKind};
use wxsub_core::consent::{RejectReason, VerifiedConsent};
use wxsub_outbox::OutboxError;
use wxsub_outbox::grant::{Consent, Subject, nonce_of_name};
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::view::{ConsentOutcome, ConsentView, GrantList};
use wxsub_proto::{ConsentCallback, Grant, OpenId, TemplateId, ValidationError};

use super::ProblemResponse;
use super::ledger::{GrantPath, ListClient, OutboxClient, RequestKey};
use super::members::{Members, invalid_field, scene, session, text};
use crate::api::request::{Json, json_response};

#[utoipa::path(
    post,
    path = "/v1/apps/{appid}/grants",
    operation_id = "record_grant",
    summary = "Records a consent; needs consent",
    params(("appid" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewGrant,
    responses(
        (status = 201, body = ConsentView, description = "Recorded"),
        (status = 200, body = ConsentView, description = "Recorded before, absorbed or declined"),
        (status = 400, body = Problem, description = "Not JSON, or no Idempotency-Key"),
        (status = 422, body = Problem, description = "The callback is forged or expired, or the key was used for another consent")
    )
)]
pub(in crate::api) async fn record(
    client: OutboxClient,
    RequestKey(key): RequestKey,
    members: Members,
) -> Result<Response, ProblemResponse> {
    let consent = match read_consent(members)? {
        PostedConsent::Callback(callback, session) => {
            let verified = verify(&client, &callback, &session)?;
            client.work(client.outbox.record_consent(&verified)).await?
        }
        PostedConsent::Verified(grant) => {
            let key = key.ok_or_else(|| {
                let detail = "a grant by openid needs an Idempotency-Key, so that it is recorded once; send the header";
                ProblemResponse::new(ProblemKind::KeyRequired, detail)
            })?;
            Some(record_verified(&client, grant, &key).await?)
        }
    };
    let view = ConsentView::from(consent);
    client.context.audit(|entry| entry.grant = view.grant.map(|grant| grant.to_string()));
    let is_new = view.outcome == ConsentOutcome::Recorded;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json_response(status, "application/json", &view))
}

/// A consent to record: a callback and its session, or a grant that the client has verified.
enum PostedConsent {
    Callback(ConsentCallback, String),
    Verified(Grant),
}

fn read_consent(mut members: Members) -> Result<PostedConsent, ProblemResponse> {
    if ["openid", "template_id", "scene"].iter().any(|name| members.has(name)) && !members.has("callback") {
        let openid: Option<OpenId> = members.required("openid", text);
        let template_id: Option<TemplateId> = members.required("template_id", text);
        let scene = members.required("scene", scene);
        let grant = openid.zip(template_id).zip(scene);
        let grant = grant.and_then(|((openid, template_id), scene)| {
            Grant::assume_verified(openid, template_id, scene).ok()
        });
        return members.finish(grant.map(PostedConsent::Verified));
    }
    if !members.has("callback") && !members.has("session") {
        let rule = "is missing; send callback and session, or openid, template_id and scene";
        return Err(invalid_field("callback", rule));
    }
    let callback = members.required("callback", callback);
    let session = members.required("session", session);
    let consent = callback.zip(session);
    members.finish(consent.map(|(callback, session)| PostedConsent::Callback(callback, session)))
}

/// Reads the callback in a text, or in an object as the mobile SDK gives it.
fn callback(value: &Value) -> Result<ConsentCallback, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(|invalid: ValidationError| invalid.to_string())
}

fn verify(
    client: &OutboxClient,
    callback: &ConsentCallback,
    session: &str,
) -> Result<VerifiedConsent, ProblemResponse> {
    let rejected = |kind, detail| {
        client.context.audit(|entry| entry.outcome = ProblemKind::as_str(kind));
        ProblemResponse::new(kind, detail)
    };
    client.verifier()?.verify(callback, session).map_err(|error| match error.reason() {
        RejectReason::Expired => rejected(
            ProblemKind::ConsentExpired,
            "the callback is genuine, and its request has expired; ask the user again",
        ),
        _ => rejected(
            ProblemKind::ConsentForged,
            "the callback belongs to no request of this app and session; ask the user again",
        ),
    })
}

/// Records a consent that the client has verified. The key is its name for ever, as a nonce is.
async fn record_verified(
    client: &OutboxClient,
    grant: Grant,
    key: &IdempotencyKey,
) -> Result<Consent, ProblemResponse> {
    let appid = client.app.appid();
    let name = format!("client:{}\0key:{key}", client.client.name);
    let (subject, nonce) = (Subject::new(appid.clone(), &grant), nonce_of_name(appid, &name, client.now()));
    let openid = grant.openid().clone();
    let verified = VerifiedConsent::Granted { grant, nonce };
    let (consent, known) = client
        .work(async {
            let consent = client.outbox.record_consent(&verified).await?.ok_or(OutboxError::NoAppChosen)?;
            Ok((consent, client.outbox.ledger().grants(appid, &openid).await?))
        })
        .await?;
    let is_same = known.iter().any(|grant| grant.id == consent.grant() && grant.subject == subject);
    if is_same {
        return Ok(consent);
    }
    let detail = "idempotency_key: it was used for another consent; choose another key";
    Err(ProblemResponse::new(ProblemKind::KeyReused, detail))
}

#[utoipa::path(
    get,
    path = "/v1/apps/{appid}/grants",
    operation_id = "list_grants",
    summary = "The grants of a user; needs consent or outbox:read",
    params(("appid" = String, Path), ("openid" = String, Query)),
    responses(
        (status = 200, body = GrantList, description = "The grants, oldest first"),
        (status = 422, body = Problem, description = "openid is missing or invalid")
    )
)]
pub(in crate::api) async fn list(
    ListClient { client, mut query }: ListClient,
) -> Result<Json<GrantList>, ProblemResponse> {
    let openid: Option<OpenId> = query.required("openid", text);
    let openid = query.finish(openid)?;
    let grants = client.work(async { Ok(client.outbox.ledger().grants(client.app.appid(), &openid).await?) });
    Ok(Json(GrantList::new(&grants.await?)))
}

#[utoipa::path(
    delete,
    path = "/v1/apps/{appid}/grants/{id}",
    operation_id = "void_grant",
    summary = "Voids an open grant; needs consent",
    params(("appid" = String, Path), ("id" = String, Path)),
    responses(
        (status = 204, description = "Void")
    )
)]
pub(in crate::api) async fn void(
    client: OutboxClient,
    GrantPath(id): GrantPath,
) -> Result<Response, ProblemResponse> {
    match client.work(client.outbox.void_grant(id)).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        None => {
            client.context.audit(|entry| entry.outcome = "not_found");
            let detail = "there is no open grant with this id: a message has it or used it, or it is void; list the grants";
            Err(ProblemResponse::new(ProblemKind::NotFound, detail))
        }
    }
}
