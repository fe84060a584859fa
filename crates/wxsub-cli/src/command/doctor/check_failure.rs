//! Cause and remedy of a failed check.

use std::fmt::Display;
use std::net::IpAddr;

use wxsub_core::transport::TransportError;
use wxsub_proto::codec::DecodeError;
use wxsub_proto::{ApiError, BaseUrl, ErrCode, Operation, Remedy, TraceId};

use super::DoctorContext;
use crate::environment::{API_BASE, APPID, CA_FILE, PROXY};
use crate::exit::ExitStatus;

/// Cause and remedy of a failed check.
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
    /// Creates a failure without an errcode.
    pub(super) fn new(exit: ExitStatus, remedy: Remedy, cause: impl Display, to_do: impl Display) -> Self {
        let (cause, to_do) = (cause.to_string(), to_do.to_string());
        Self { exit, remedy, cause, to_do, errcode: None, rid: None, ip: None }
    }

    /// Creates the failure for a request without a response.
    pub(super) fn no_response(context: &DoctorContext, base: &BaseUrl, error: &TransportError) -> Self {
        use wxsub_core::transport::TransportErrorKind::{Certificate, Connect, Proxy, Timeout, Tls};
        let host = base.host();
        let (remedy, to_do) = match (error.kind(), context.ignored_proxy) {
            (Connect | Timeout, Some(name)) => (
                Remedy::FixConfig,
                format!("set {PROXY} if {host} must be reached through the proxy in {name}"),
            ),
            (Connect | Timeout, None) => {
                (Remedy::RetryLater, format!("check whether a firewall blocks {host}, then try again"))
            }
            (Certificate, _) => (
                Remedy::FixConfig,
                format!(
                    "if a proxy inspects TLS traffic, put its certificate authority into {CA_FILE}; otherwise check this machine's clock"
                ),
            ),
            (Tls, _) => {
                (Remedy::FixConfig, format!("check that {API_BASE} is right and that the host supports TLS"))
            }
            (Proxy, _) => (
                Remedy::FixConfig,
                format!("correct {PROXY}, or find out why the proxy refuses the connection"),
            ),
            _ => {
                (Remedy::Investigate, format!("find out which program responds at {host}; check {API_BASE}"))
            }
        };
        Self::new(ExitStatus::NotSent, remedy, error, to_do)
    }

    /// Creates the failure for a response that is not from Weixin.
    pub(super) fn not_weixin(context: &DoctorContext, error: &DecodeError) -> Self {
        let cause = format_args!("the response is not from Weixin: {error}").to_string();
        let to_do = format!(
            "if this network requires a sign-in, sign in with a browser; otherwise let proxy and firewall pass {}, \
             and check {API_BASE}",
            context.base().host()
        );
        Self::new(ExitStatus::NotSent, Remedy::Investigate, cause, to_do)
    }

    /// Creates the failure for a call that Weixin refused.
    pub(super) fn refused(context: &DoctorContext, refusal: &ApiError, operation: Operation) -> Self {
        let code = refusal.errcode();
        let (remedy, ip) = (code.remedy(operation), refusal.blocked_ip());
        let cause = match ip {
            Some(ip) => format!("Weixin sees this machine as {ip}: {}", code.meaning(operation)),
            None => code.meaning(operation).to_string(),
        };
        Self {
            errcode: Some(code),
            rid: refusal.trace_id().cloned(),
            ip,
            ..Self::new(
                ExitStatus::Refused,
                remedy,
                format_args!("{cause} ({refusal})"),
                to_do(context, refusal, operation),
            )
        }
    }
}

/// Returns what to do about a refusal: specific to this machine if possible, else the general advice.
fn to_do(context: &DoctorContext, refusal: &ApiError, operation: Operation) -> String {
    let code = refusal.errcode();
    match (operation, code) {
        (Operation::FetchToken, ErrCode::INVALID_CREDENTIAL | ErrCode::INVALID_APPSECRET) => format!(
            "update the AppSecret of {} (read from {}); a reset in Weixin's console invalidates the previous one",
            context.app.appid, context.secret_in
        ),
        (Operation::FetchToken, ErrCode::INVALID_APPID) => {
            format!("correct {APPID} or --appid: {} is unknown to Weixin", context.app.appid)
        }
        (_, ErrCode::SECRET_FROZEN) => {
            "unfreeze the AppSecret in Weixin's console, then wait ten minutes".to_owned()
        }
        (_, ErrCode::IP_NOT_ALLOWED) => match refusal.blocked_ip() {
            Some(ip) => format!("add {ip} to the app's IP allow-list in Weixin's console"),
            None => code.remedy(operation).advice().to_string(),
        },
        (_, ErrCode::DAILY_QUOTA) => QUOTA_ADVICE.to_owned(),
        _ => code.remedy(operation).advice().to_string(),
    }
}

/// What to do about a used-up daily quota.
pub(super) const QUOTA_ADVICE: &str =
    "wait until tomorrow in Beijing, or reset the quota in Weixin's console (ten times a month at most)";
