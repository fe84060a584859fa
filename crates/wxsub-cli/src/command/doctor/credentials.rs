//! What Weixin says to AppID, AppSecret and this machine's address.

use wxsub_core::token::TokenEndpoint;
use wxsub_proto::codec::Reply;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenReply, TokenRequest};
use wxsub_proto::{ErrCode, Remedy, Role};

use super::check::Check;
use super::{Fault, Patient};

/// A token, or which check failed over it.
pub(super) async fn token(patient: &Patient) -> Result<TokenReply, (Check, Fault)> {
    let (appid, secret) = (patient.app.appid.clone(), patient.app.secret.clone());
    let asked = match patient.endpoint {
        TokenEndpoint::Token => patient.ask(TokenRequest::new(appid, secret).encode()).await,
        TokenEndpoint::StableToken => patient.ask(StableTokenRequest::new(appid, secret).encode()).await,
    };
    let raw = asked.map_err(|error| (Check::Token, Fault::no_reply(patient, &error)))?;
    match TokenReply::read(raw.status, raw.body.as_ref()) {
        Ok(Reply::Done(reply)) => Ok(reply),
        Ok(Reply::Refused(refusal)) => {
            let refusal = refusal.without(patient.app.secret.expose());
            let check = about(refusal.errcode());
            Err((check, Fault::refused(patient, &refusal, Role::TokenCall)))
        }
        Err(unreadable) => Err((Check::Token, Fault::not_weixin(patient, &unreadable))),
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
        code => match code.remedy(Role::TokenCall) {
            Remedy::AllowIp => Check::Address,
            Remedy::SlowDown => Check::Quota,
            _ => Check::Token,
        },
    }
}
