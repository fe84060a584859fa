//! What is wrong, and what to do about it.

use std::fmt::Display;
use std::net::IpAddr;

use wxsub_core::transport::TransportError;
use wxsub_proto::codec::DecodeError;
use wxsub_proto::{ApiError, BaseUrl, ErrCode, Operation, Remedy, TraceId};

use super::DoctorContext;
use crate::environment::{API_BASE, APPID, CA_FILE, PROXY};
use crate::exit::ExitStatus;

/// Why a check failed.
pub(super) struct CheckFailure {
    pub(super) exit: ExitStatus,
    pub(super) remedy: Remedy,
    pub(super) cause: String,
    pub(super) to_do: String,
    pub(super) errcode: Option<ErrCode>,
    pub(super) rid: Option<TraceId>,
    pub(super) ip: Option<IpAddr>,
}

impl CheckFailure {
    /// Found on this side.
    pub(super) fn new(exit: ExitStatus, remedy: Remedy, cause: impl Display, to_do: impl Display) -> Self {
        let (cause, to_do) = (cause.to_string(), to_do.to_string());
        Self { exit, remedy, cause, to_do, errcode: None, rid: None, ip: None }
    }

    /// No reply came. Whatever was asked, nothing was sent to anybody.
    pub(super) fn no_reply(patient: &DoctorContext, base: &BaseUrl, error: &TransportError) -> Self {
        use wxsub_core::transport::TransportErrorKind::{Certificate, Connect, Proxy, Timeout, Tls};
        let host = base.host();
        let (remedy, to_do) = match (error.kind(), patient.ignored_proxy) {
            (Connect | Timeout, Some(name)) => (
                Remedy::FixConfig,
                format!("set {PROXY} if {host} is reached through the proxy that {name} names"),
            ),
            (Connect | Timeout, None) => (
                Remedy::RetryLater,
                format!("see whether a firewall keeps this machine from {host}, then try again"),
            ),
            (Certificate, _) => (
                Remedy::FixConfig,
                format!(
                    "if a proxy reads the traffic, put its authority into {CA_FILE}; otherwise look at this machine's clock"
                ),
            ),
            (Tls, _) => (Remedy::FixConfig, format!("see whether {API_BASE} is right and really speaks TLS")),
            (Proxy, _) => (Remedy::FixConfig, format!("correct {PROXY}, or see why the proxy refuses")),
            _ => (Remedy::Investigate, format!("see what answers at {host}; is {API_BASE} right?")),
        };
        Self::new(ExitStatus::NotSent, remedy, error, to_do)
    }

    /// A reply came, and it is not Weixin's.
    pub(super) fn not_weixin(patient: &DoctorContext, unreadable: &DecodeError) -> Self {
        let cause =
            format_args!("something between you and Weixin answers in its place: {unreadable}").to_string();
        let to_do = format!(
            "if this network wants a sign-in, sign in with a browser; otherwise have proxy and firewall let {} \
             through, and see whether {API_BASE} is right",
            patient.base().host()
        );
        Self::new(ExitStatus::NotSent, Remedy::Investigate, cause, to_do)
    }

    /// Weixin said no.
    pub(super) fn refused(patient: &DoctorContext, refusal: &ApiError, role: Operation) -> Self {
        let code = refusal.errcode();
        let (remedy, ip) = (code.remedy(role), refusal.blocked_ip());
        let cause = match ip {
            Some(ip) => format!("Weixin sees this machine as {ip}: {}", code.meaning(role)),
            None => code.meaning(role).to_string(),
        };
        Self {
            errcode: Some(code),
            rid: refusal.trace_id().cloned(),
            ip,
            ..Self::new(
                ExitStatus::Refused,
                remedy,
                format_args!("{cause} ({refusal})"),
                to_do(patient, refusal, role),
            )
        }
    }
}

/// What to do about this refusal on this machine, where that is more than the code's own advice.
fn to_do(patient: &DoctorContext, refusal: &ApiError, role: Operation) -> String {
    let code = refusal.errcode();
    match (role, code) {
        (Operation::FetchToken, ErrCode::INVALID_CREDENTIAL | ErrCode::INVALID_APPSECRET) => format!(
            "put the present AppSecret of {} where {} says; a reset in Weixin's console ends the one before",
            patient.app.appid, patient.secret_in
        ),
        (Operation::FetchToken, ErrCode::INVALID_APPID) => {
            format!("correct {APPID} or --appid: Weixin knows no {}", patient.app.appid)
        }
        (_, ErrCode::SECRET_FROZEN) => {
            "unfreeze the AppSecret in Weixin's console, wait ten minutes".to_owned()
        }
        (_, ErrCode::IP_NOT_ALLOWED) => match refusal.blocked_ip() {
            Some(ip) => format!("put {ip} on the app's IP allow-list in Weixin's console"),
            None => code.remedy(role).advice().to_string(),
        },
        (_, ErrCode::DAILY_QUOTA) => QUOTA.to_owned(),
        _ => code.remedy(role).advice().to_string(),
    }
}

/// What to do once the calls of today are used up.
pub(super) const QUOTA: &str = "wait until tomorrow in Beijing, or reset the quota in Weixin's console, which it allows ten times a month";
