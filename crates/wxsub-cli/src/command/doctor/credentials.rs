//! Fetches a token, which tests AppID, AppSecret and this machine's address.

use wxsub_core::token::TokenEndpoint;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};
use wxsub_proto::{ErrCode, Operation, Remedy};

use super::check::Check;
use super::{CheckFailure, DoctorContext};

/// Fetches a token. Returns the failed check if that is not possible.
pub(super) async fn token(context: &DoctorContext) -> Result<TokenResponse, (Check, CheckFailure)> {
    let (appid, secret) = (context.app.appid.clone(), context.app.secret.clone());
    let result = match context.endpoint {
        TokenEndpoint::Token => context.request(TokenRequest::new(appid, secret).encode()).await,
        TokenEndpoint::StableToken => context.request(StableTokenRequest::new(appid, secret).encode()).await,
    };
    let raw =
        result.map_err(|error| (Check::Token, CheckFailure::no_response(context, context.base(), &error)))?;
    match TokenResponse::parse(raw.status, raw.body.as_ref()) {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(refusal)) => {
            let refusal = refusal.redact(context.app.secret.expose_secret());
            let check = check_for(refusal.errcode());
            Err((check, CheckFailure::refused(context, &refusal, Operation::FetchToken)))
        }
        Err(error) => Err((Check::Token, CheckFailure::not_weixin(context, &error))),
    }
}

/// The check that fails with this errcode of a token call.
fn check_for(code: ErrCode) -> Check {
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
