//! What the token is good for.

use wxsub_proto::endpoint::quota::{self, Quota};
use wxsub_proto::endpoint::token::TokenResponse;
use wxsub_proto::endpoint::{domain_ip, subscribe};
use wxsub_proto::{Operation, Remedy};

use super::check_failure::QUOTA;
use super::report::Finding;
use super::{CheckFailure, DoctorContext};
use crate::exit::ExitStatus;

/// Whether Weixin takes it.
pub(super) async fn works(patient: &DoctorContext, token: &TokenResponse) -> Finding<()> {
    let raw = match patient.ask(domain_ip::encode(&token.access_token)).await {
        Ok(raw) => raw,
        Err(error) => return Finding::Failed(CheckFailure::no_reply(patient, patient.base(), &error)),
    };
    match domain_ip::parse_response(raw.status, raw.body.as_ref()) {
        Ok(Ok(())) => {
            let (endpoint, left) = (patient.endpoint.as_str(), token.expires_in.as_secs());
            let spared = match patient.skipped_classic_endpoint {
                true => {
                    "; /cgi-bin/token was not asked, because that ends the token others use: --fetch asks it"
                }
                false => "",
            };
            Finding::Ok((), format!("one from {endpoint} works, for another {left} s{spared}"))
        }
        Ok(Err(refusal)) => {
            let refusal = refusal.redact(token.access_token.expose_secret());
            Finding::Failed(CheckFailure::refused(patient, &refusal, Operation::Send))
        }
        Err(unreadable) => Finding::Failed(CheckFailure::not_weixin(patient, &unreadable)),
    }
}

/// Whether messages may still be sent today.
pub(super) async fn sends_left(patient: &DoctorContext, token: &TokenResponse) -> Finding<()> {
    let raw = match patient.ask(quota::encode(&token.access_token, subscribe::PATH)).await {
        Ok(raw) => raw,
        Err(error) => return Finding::Failed(CheckFailure::no_reply(patient, patient.base(), &error)),
    };
    match Quota::parse_response(raw.status, raw.body.as_ref()) {
        Ok(Ok(Quota { daily_limit: 0, .. })) => {
            Finding::Skipped("Weixin names no limit for sends".to_owned())
        }
        Ok(Ok(Quota { daily_limit, remain: 0, .. })) => {
            let cause = format_args!("today's {daily_limit} sends are used up").to_string();
            Finding::Failed(CheckFailure::new(ExitStatus::Refused, Remedy::SlowDown, cause, QUOTA))
        }
        Ok(Ok(Quota { daily_limit, remain, .. })) => {
            Finding::Ok((), format!("{remain} of {daily_limit} sends are left today"))
        }
        // An app that may not ask this may send all the same.
        Ok(Err(refusal)) => {
            let refusal = refusal.redact(token.access_token.expose_secret());
            Finding::Skipped(format!("Weixin does not tell: {refusal}"))
        }
        Err(unreadable) => Finding::Failed(CheckFailure::not_weixin(patient, &unreadable)),
    }
}
