//! What Weixin says to AppID, AppSecret and this machine's address.

use wxsub_core::token::TokenEndpoint;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};
use wxsub_proto::{ErrCode, Operation, Remedy};

use super::check::Check;
use super::{CheckFailure, DoctorContext};

/// A token, or which check failed over it.
pub(super) async fn token(patient: &DoctorContext) -> Result<TokenResponse, (Check, CheckFailure)> {
    let (appid, secret) = (patient.app.appid.clone(), patient.app.secret.clone());
    let asked = match patient.endpoint {
        TokenEndpoint::Token => patient.ask(TokenRequest::new(appid, secret).encode()).await,
        TokenEndpoint::StableToken => patient.ask(StableTokenRequest::new(appid, secret).encode()).await,
    };
    let raw =
        asked.map_err(|error| (Check::Token, CheckFailure::no_reply(patient, patient.base(), &error)))?;
    match TokenResponse::parse(raw.status, raw.body.as_ref()) {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(refusal)) => {
            let refusal = refusal.redact(patient.app.secret.expose_secret());
            let check = about(refusal.errcode());
            Err((check, CheckFailure::refused(patient, &refusal, Operation::FetchToken)))
        }
        Err(unreadable) => Err((Check::Token, CheckFailure::not_weixin(patient, &unreadable))),
    }
}

/// What a refused token call is about.
fn about(code: ErrCode) -> Check {
    match code {
        ErrCode::INVALID_CREDENTIAL
        | ErrCode::INVALID_APPID
        | ErrCode::INVALID_APPSECRET
        | ErrCode::SECRET_FROZEN
        | ErrCode::MISSING_APPID
        | ErrCode::MISSING_SECRET => Check::Secret,
        code => match code.remedy(Operation::FetchToken) {
            Remedy::AllowIp => Check::Address,
            Remedy::SlowDown => Check::Quota,
            _ => Check::Token,
        },
    }
}
