//! The checks: network, clock, credentials, token and quota.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use tokio::net::lookup_host;
use wxsub_core::clock::{Clock, ClockReading, SystemClock, UnixMillis};
use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::{HttpRequest, TransportError};
use wxsub_proto::codec::{DecodeError, RawResponse, Request};
use wxsub_proto::endpoint::quota::{self, Quota};
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};
use wxsub_proto::endpoint::{domain_ip, subscribe};
use wxsub_proto::{ApiError, BaseUrl, ErrCode, Operation, Remedy};

use super::report::{Check, CheckFailure, Finding};
use crate::backend::DirectConfig;
use crate::environment::{API_BASE, APPID, CA_FILE, PROXY};
use crate::error::ExitStatus;

/// Settings of the checks.
pub(super) struct DoctorContext {
    pub(super) app: DirectConfig,
    /// Endpoint that the token is fetched from.
    pub(super) endpoint: TokenEndpoint,
    /// Whether `WXSUB_TOKEN_ENDPOINT` is `token`, but `--fetch` is not given.
    pub(super) skipped_classic_endpoint: bool,
    pub(super) uses_proxy: bool,
    /// Variable with a proxy that is not used.
    pub(super) ignored_proxy: Option<&'static str>,
    /// Variable with the AppSecret or the path of its file.
    pub(super) secret_in: &'static str,
}

impl DoctorContext {
    /// Sends one request to the first host without retries, so that rare failures are visible.
    async fn request(
        &self,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        self.request_from(self.base(), request).await
    }

    /// Sends one request to this host.
    async fn request_from(
        &self,
        base: &BaseUrl,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        self.app.transport.execute(HttpRequest::new(base, request)?).await
    }

    /// The first host of Weixin's API. The other hosts are only connected to.
    fn base(&self) -> &BaseUrl {
        self.app.bases.first()
    }
}

/// Maximum time to resolve a name.
const DNS_TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves the names of all hosts.
pub(super) async fn resolve_hosts(context: &DoctorContext) -> Finding<()> {
    if context.uses_proxy {
        return Finding::Skipped("the proxy resolves names".to_owned());
    }
    let mut found = Vec::new();
    for base in context.app.bases.iter() {
        match resolve(base).await {
            Ok(addresses) => found.push(addresses),
            Err(failure) => return Finding::Failed(failure),
        }
    }
    Finding::Ok((), found.join("; "))
}

async fn resolve(base: &BaseUrl) -> Result<String, CheckFailure> {
    let host = base.host();
    if host.parse::<IpAddr>().is_ok() {
        return Ok(format!("{host} is an IP address"));
    }
    let clock = SystemClock::new();
    let found = tokio::select! {
        biased;
        found = lookup_host((host, base.port())) => found.map_err(|error| error.to_string()),
        () = clock.sleep_until(clock.now().mono + DNS_TIMEOUT) => Err(format!("no response within {DNS_TIMEOUT:?}")),
    };
    let error =
        match found.map(|found| found.map(|address| address.ip().to_string()).collect::<BTreeSet<_>>()) {
            Ok(addresses) if !addresses.is_empty() => {
                let addresses: Vec<_> = addresses.into_iter().collect();
                return Ok(format!("{host} has {}", addresses.join(", ")));
            }
            Ok(_) => "the name has no address".to_owned(),
            Err(error) => error,
        };
    let cause = format_args!("the host name {host} could not be resolved: {error}").to_string();
    let to_do = format!("check the spelling of {API_BASE}, and the DNS of this machine");
    Err(CheckFailure::new(ExitStatus::NotSent, Remedy::FixConfig, cause, to_do))
}

/// A response with the times of the request and of its arrival.
pub(super) struct TimedResponse<B> {
    pub(super) raw: RawResponse<B>,
    requested_at: ClockReading,
    received_at: ClockReading,
}

/// Sends a request without a secret to every host. Any response is enough. Returns the response of the first host.
pub(super) async fn connect(context: &DoctorContext) -> Finding<TimedResponse<impl AsRef<[u8]> + use<>>> {
    let clock = SystemClock::new();
    let requested_at = clock.now();
    let detail = match context.base().as_str().starts_with("https://") {
        true => "TLS and the certificate are valid",
        false => "plain http://, no TLS",
    };
    let response = match context.request(domain_ip::request_unauthenticated()).await {
        Ok(raw) => TimedResponse { raw, requested_at, received_at: clock.now() },
        Err(error) => return Finding::Failed(CheckFailure::no_response(context, context.base(), &error)),
    };
    for base in context.app.bases.iter().skip(1) {
        if let Err(error) = context.request_from(base, domain_ip::request_unauthenticated()).await {
            return Finding::Failed(CheckFailure::no_response(context, base, &error));
        }
    }
    Finding::Ok(response, detail.to_owned())
}

/// Checks that the response is from Weixin: only Weixin refuses a call without a token with an errcode.
pub(super) fn check_weixin<B: AsRef<[u8]>>(
    context: &DoctorContext,
    response: &RawResponse<B>,
) -> Finding<()> {
    match domain_ip::parse_response(response.status, response.body.as_ref()) {
        Ok(Ok(()) | Err(_)) => Finding::Ok((), "the response is from Weixin".to_owned()),
        Err(error) => Finding::Failed(CheckFailure::not_weixin(context, &error)),
    }
}

/// Maximum difference of the clocks.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Compares the clock with the date of the response.
pub(super) fn compare_clocks<B>(response: &TimedResponse<B>) -> Finding<()> {
    let date = response.raw.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(remote) = date.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok()) else {
        return Finding::Skipped("the response has no date".to_owned());
    };
    let remote = UnixMillis::default() + remote;
    // Weixin wrote the date between the request and the response.
    let ahead = response.requested_at.wall.since(remote);
    let behind = remote.since(response.received_at.wall);
    let (skew, direction) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if skew <= MAX_CLOCK_SKEW {
        return Finding::Ok((), "it agrees with Weixin's clock".to_owned());
    }
    let cause = format!("this machine's clock is {} {direction} Weixin's", format_duration(skew));
    let to_do = "set the clock, preferably with NTP; until then checks of certificates, expiry times and consents may be wrong";
    Finding::Failed(CheckFailure::new(ExitStatus::Usage, Remedy::FixConfig, cause, to_do))
}

/// Formats a duration in its two largest units.
fn format_duration(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min {} s", time.as_secs() % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Fetches a token. Returns the failed check if that is not possible.
pub(super) async fn fetch_token(context: &DoctorContext) -> Result<TokenResponse, (Check, CheckFailure)> {
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

impl CheckFailure {
    /// Creates the failure for a request without a response.
    fn no_response(context: &DoctorContext, base: &BaseUrl, error: &TransportError) -> Self {
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
    fn not_weixin(context: &DoctorContext, error: &DecodeError) -> Self {
        let cause = format_args!("the response is not from Weixin: {error}").to_string();
        let to_do = format!(
            "if this network requires a sign-in, sign in with a browser; otherwise let proxy and firewall pass {}, \
             and check {API_BASE}",
            context.base().host()
        );
        Self::new(ExitStatus::NotSent, Remedy::Investigate, cause, to_do)
    }

    /// Creates the failure for a call that Weixin refused.
    fn refused(context: &DoctorContext, refusal: &ApiError, operation: Operation) -> Self {
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
const QUOTA_ADVICE: &str =
    "wait until tomorrow in Beijing, or reset the quota in Weixin's console (ten times a month at most)";

#[cfg(test)]
mod tests {
    use wxsub_core::clock::{ClockReading, MonotonicInstant};
    use wxsub_proto::codec::RawResponse;

    use super::*;

    /// Detail or cause for this date, at noon in 2026, with a response after two seconds.
    fn detail(date: Option<&str>) -> Result<String, String> {
        let at = |seconds: u64| {
            ClockReading::new(
                MonotonicInstant::default(),
                UnixMillis::new(1_780_315_200_000 + seconds * 1000),
            )
        };
        let raw = RawResponse::new(200, ()).with_date(date.map(str::to_owned));
        match compare_clocks(&TimedResponse { raw, requested_at: at(0), received_at: at(2) }) {
            Finding::Ok((), detail) | Finding::Skipped(detail) => Ok(detail),
            Finding::Failed(failure) => Err(failure.cause),
        }
    }

    #[test]
    fn difference_of_a_minute_is_ok() {
        for date in ["11:59:00", "12:00:00", "12:00:01", "12:01:02"] {
            let detail = detail(Some(&format!("Mon, 01 Jun 2026 {date} GMT")));
            assert_eq!(detail, Ok("it agrees with Weixin's clock".to_owned()), "{date}");
        }
    }

    #[test]
    fn larger_difference_fails_with_direction() {
        for (date, cause) in [
            ("Mon, 01 Jun 2026 11:58:59 GMT", "1 min 1 s ahead of"),
            ("Mon, 01 Jun 2026 12:01:03 GMT", "1 min 1 s behind"),
            ("Mon, 01 Jun 2026 13:00:02 GMT", "1 h 0 min behind"),
            ("Sun, 31 May 2026 10:00:00 GMT", "1 d 2 h ahead of"),
            ("Thu, 01 Jan 1970 00:00:00 GMT", "20605 d 12 h ahead of"),
        ] {
            assert_eq!(
                detail(Some(date)),
                Err(format!("this machine's clock is {cause} Weixin's")),
                "{date}"
            );
        }
    }

    #[test]
    fn missing_or_invalid_date_skips_the_check() {
        for date in [None, Some(""), Some("yesterday"), Some("Mon, 01 Jun 1909 12:00:00 GMT")] {
            assert_eq!(detail(date), Ok("the response has no date".to_owned()), "{date:?}");
        }
    }
}
