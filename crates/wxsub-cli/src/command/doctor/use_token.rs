//! What the token is good for.

use wxsub_proto::codec::Reply;
use wxsub_proto::endpoint::quota::{self, Quota};
use wxsub_proto::endpoint::token::TokenReply;
use wxsub_proto::endpoint::{domain_ip, subscribe};
use wxsub_proto::{Remedy, Role};

use super::fault::QUOTA;
use super::report::Finding;
use super::{Fault, Patient};
use crate::exit::Exit;

/// Whether Weixin takes it.
pub(super) async fn works(patient: &Patient, token: &TokenReply) -> Finding<()> {
    let raw = match patient.ask(domain_ip::encode(&token.access_token)).await {
        Ok(raw) => raw,
        Err(error) => return Finding::Failed(Fault::no_reply(patient, &error)),
    };
    match domain_ip::read(raw.status, raw.body.as_ref()) {
        Ok(Reply::Done(())) => {
            let (endpoint, left) = (patient.endpoint.as_str(), token.expires_in.as_secs());
            let spared = match patient.spared {
                true => {
                    "; /cgi-bin/token was not asked, because that ends the token others use: --fetch asks it"
                }
                false => "",
            };
            Finding::Ok((), format!("one from {endpoint} works, for another {left} s{spared}"))
        }
        Ok(Reply::Refused(refusal)) => {
            let refusal = refusal.without(token.access_token.expose());
            Finding::Failed(Fault::refused(patient, &refusal, Role::Send))
        }
        Err(unreadable) => Finding::Failed(Fault::not_weixin(patient, &unreadable)),
    }
}

/// Whether messages may still be sent today.
pub(super) async fn sends_left(patient: &Patient, token: &TokenReply) -> Finding<()> {
    let raw = match patient.ask(quota::encode(&token.access_token, subscribe::PATH)).await {
        Ok(raw) => raw,
        Err(error) => return Finding::Failed(Fault::no_reply(patient, &error)),
    };
    match Quota::read(raw.status, raw.body.as_ref()) {
        Ok(Reply::Done(Quota { daily_limit: 0, .. })) => {
            Finding::Skipped("Weixin names no limit for sends".to_owned())
        }
        Ok(Reply::Done(Quota { daily_limit, remain: 0, .. })) => {
            let cause = format_args!("today's {daily_limit} sends are used up").to_string();
            Finding::Failed(Fault::new(Exit::Refused, Remedy::SlowDown, cause, QUOTA))
        }
        Ok(Reply::Done(Quota { daily_limit, remain, .. })) => {
            Finding::Ok((), format!("{remain} of {daily_limit} sends are left today"))
        }
        // An app that may not ask this may send all the same.
        Ok(Reply::Refused(refusal)) => {
            let refusal = refusal.without(token.access_token.expose());
            Finding::Skipped(format!("Weixin does not tell: {refusal}"))
        }
        Err(unreadable) => Finding::Failed(Fault::not_weixin(patient, &unreadable)),
    }
}
