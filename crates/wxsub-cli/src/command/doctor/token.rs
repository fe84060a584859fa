//! Checks with the token.

use wxsub_proto::endpoint::quota::{self, Quota};
use wxsub_proto::endpoint::token::TokenResponse;
use wxsub_proto::endpoint::{domain_ip, subscribe};
use wxsub_proto::{Operation, Remedy};

use super::check_failure::QUOTA_ADVICE;
use super::report::Finding;
use super::{CheckFailure, DoctorContext};
use crate::exit::ExitStatus;

/// Checks that Weixin accepts the token.
pub(super) async fn check_token(context: &DoctorContext, token: &TokenResponse) -> Finding<()> {
    let raw = match context.request(domain_ip::request(&token.access_token)).await {
        Ok(raw) => raw,
        Err(error) => return Finding::Failed(CheckFailure::no_response(context, context.base(), &error)),
    };
    match domain_ip::parse_response(raw.status, raw.body.as_ref()) {
        Ok(Ok(())) => {
            let (endpoint, left) = (context.endpoint.as_str(), token.expires_in.as_secs());
            let skipped = match context.skipped_classic_endpoint {
                true => {
                    "; /cgi-bin/token was not called, because it invalidates the token that other processes use; --fetch calls it"
                }
                false => "",
            };
            Finding::Ok((), format!("a token from {endpoint} works and expires in {left} s{skipped}"))
        }
        Ok(Err(refusal)) => {
            let refusal = refusal.redact(token.access_token.expose_secret());
            Finding::Failed(CheckFailure::refused(context, &refusal, Operation::Send))
        }
        Err(error) => Finding::Failed(CheckFailure::not_weixin(context, &error)),
    }
}

/// Checks that the daily quota of sends is not used up.
pub(super) async fn check_quota(context: &DoctorContext, token: &TokenResponse) -> Finding<()> {
    let raw = match context.request(quota::request(&token.access_token, subscribe::PATH)).await {
        Ok(raw) => raw,
        Err(error) => return Finding::Failed(CheckFailure::no_response(context, context.base(), &error)),
    };
    match Quota::parse_response(raw.status, raw.body.as_ref()) {
        Ok(Ok(Quota { daily_limit: 0, .. })) => {
            Finding::Skipped("Weixin reports no limit for sends".to_owned())
        }
        Ok(Ok(Quota { daily_limit, remain: 0, .. })) => {
            let cause = format_args!("today's {daily_limit} sends are used up").to_string();
            Finding::Failed(CheckFailure::new(ExitStatus::Refused, Remedy::SlowDown, cause, QUOTA_ADVICE))
        }
        Ok(Ok(Quota { daily_limit, remain, .. })) => {
            Finding::Ok((), format!("{remain} of {daily_limit} sends are left today"))
        }
        // An app without permission for this call can still send.
        Ok(Err(refusal)) => {
            let refusal = refusal.redact(token.access_token.expose_secret());
            Finding::Skipped(format!("Weixin does not report the quota: {refusal}"))
        }
        Err(error) => Finding::Failed(CheckFailure::not_weixin(context, &error)),
    }
}
