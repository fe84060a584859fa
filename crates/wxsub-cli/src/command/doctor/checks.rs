//! The checks: network, clock, credentials, token and quota.

use std::time::{Duration, SystemTime};

use wxsub_core::clock::{Clock, ClockReading, SystemClock, UnixMillis};
use wxsub_core::token::TokenEndpoint;
use wxsub_proto::codec::{DecodeError, RawResponse};
use wxsub_proto::endpoint::quota::{self, Quota};
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};
use wxsub_proto::endpoint::{domain_ip, subscribe};
use wxsub_proto::{ApiError, ErrCode, Operation, Remedy};

use super::network::Network;
use super::report::{Check, Finding, Unsuccessful};
use crate::backend::DirectConfig;
use crate::diagnosis::{Diagnosis, SecretPlace};
use crate::environment::API_BASE;
use crate::error::ExitStatus;
use crate::language::{localized, shown};

/// Settings of the checks.
pub(super) struct DoctorContext {
    pub(super) network: Network,
    pub(super) app: DirectConfig,
    /// Endpoint that the token is fetched from.
    pub(super) endpoint: TokenEndpoint,
    /// Whether `WXSUB_TOKEN_ENDPOINT` is `token`, but `--fetch` is not given.
    pub(super) skipped_classic_endpoint: bool,
    /// Variable with the AppSecret or the path of its file.
    pub(super) secret_in: &'static str,
}

/// A response with the times of the request and of its arrival.
pub(super) struct TimedResponse<B> {
    pub(super) raw: RawResponse<B>,
    requested_at: ClockReading,
    received_at: ClockReading,
}

/// Sends a request without a secret to every host. Any response is enough. Returns the response of the first host.
pub(super) async fn connect(context: &DoctorContext) -> Finding<TimedResponse<impl AsRef<[u8]> + use<>>> {
    let (clock, network) = (SystemClock::new(), &context.network);
    let requested_at = clock.now();
    let raw = network.request(domain_ip::request_unauthenticated()).await?;
    let response = TimedResponse { raw, requested_at, received_at: clock.now() };
    for base in network.bases.iter().skip(1) {
        network.request_from(base, domain_ip::request_unauthenticated()).await?;
    }
    Ok((response, network.connection()))
}

/// Checks that the response is from Weixin: only Weixin refuses a call without a token with an errcode.
pub(super) fn check_weixin<B: AsRef<[u8]>>(
    context: &DoctorContext,
    response: &RawResponse<B>,
) -> Finding<()> {
    let parsed = domain_ip::parse_response(response.status, response.body.as_ref());
    match parsed.map_err(|error| not_weixin(context, &error))? {
        Ok(()) | Err(_) => Ok(((), localized!("the response is from Weixin", "响应来自微信"))),
    }
}

/// Maximum difference of the clocks.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Compares the clock with the date of the response.
pub(super) fn compare_clocks<B>(response: &TimedResponse<B>) -> Finding<()> {
    let date = response.raw.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(remote) = date.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok()) else {
        return Err(Unsuccessful::Skipped(localized!("the response has no date", "响应没有日期")));
    };
    let remote = UnixMillis::default() + remote;
    // Weixin wrote the date between the request and the response.
    let ahead = response.requested_at.wall.since(remote);
    let behind = remote.since(response.received_at.wall);
    if ahead.max(behind) <= MAX_CLOCK_SKEW {
        return Ok(((), localized!("it agrees with Weixin's clock", "与微信的时间一致")));
    }
    let skew = format_duration(ahead.max(behind));
    let cause = match ahead > behind {
        true => localized!("this machine's clock is {skew} ahead of Weixin's", "本机时间比微信快 {skew}"),
        false => localized!("this machine's clock is {skew} behind Weixin's", "本机时间比微信慢 {skew}"),
    };
    let to_do = localized!(
        "set the clock, preferably with NTP; until then checks of certificates, expiry times and consents may be wrong",
        "请校准时间，最好使用 NTP；在此之前，证书、有效期和授权的检查都可能出错"
    );
    Err(Diagnosis::new(ExitStatus::Usage, Remedy::FixConfig, cause, to_do).into())
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
pub(super) async fn fetch_token(context: &DoctorContext) -> Result<TokenResponse, (Check, Diagnosis)> {
    let (appid, secret) = (context.app.appid.clone(), context.app.secret.clone());
    let result = match context.endpoint {
        TokenEndpoint::Token => context.network.request(TokenRequest::new(appid, secret).encode()).await,
        TokenEndpoint::StableToken => {
            context.network.request(StableTokenRequest::new(appid, secret).encode()).await
        }
    };
    let raw = result.map_err(|failure| (Check::Token, failure))?;
    match TokenResponse::parse(raw.status, raw.body.as_ref()) {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(refusal)) => {
            let refusal = refusal.redact(context.app.secret.expose_secret());
            let check = check_for(refusal.errcode());
            Err((check, refused(context, &refusal, Operation::FetchToken)))
        }
        Err(error) => Err((Check::Token, not_weixin(context, &error))),
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
    let raw = context.network.request(domain_ip::request(&token.access_token)).await?;
    let parsed = domain_ip::parse_response(raw.status, raw.body.as_ref());
    parsed.map_err(|error| not_weixin(context, &error))?.map_err(|refusal| {
        let refusal = refusal.redact(token.access_token.expose_secret());
        refused(context, &refusal, Operation::Send)
    })?;
    let (endpoint, left) = (context.endpoint.as_str(), token.expires_in.as_secs());
    let skipped = match context.skipped_classic_endpoint {
        true => localized!(
            "; /cgi-bin/token was not called, because it invalidates the token that other processes use; --fetch calls it",
            "；没有调用 /cgi-bin/token，因为它会使其他进程的 access_token 失效；加 --fetch 才会调用"
        ),
        false => String::new(),
    };
    let detail = localized!(
        "a token from {endpoint} works and expires in {left} s{skipped}",
        "从 {endpoint} 获取的 access_token 有效，剩余 {left} 秒{skipped}"
    );
    Ok(((), detail))
}

/// Checks that the daily quota of sends is not used up.
pub(super) async fn check_quota(context: &DoctorContext, token: &TokenResponse) -> Finding<()> {
    let raw = context.network.request(quota::request(&token.access_token, subscribe::PATH)).await?;
    let parsed = Quota::parse_response(raw.status, raw.body.as_ref());
    match parsed.map_err(|error| not_weixin(context, &error))? {
        Ok(Quota { daily_limit: 0, .. }) => Err(Unsuccessful::Skipped(localized!(
            "Weixin reports no limit for sends",
            "微信没有返回发送额度"
        ))),
        Ok(Quota { daily_limit, remain: 0, .. }) => {
            let cause = localized!(
                "today's {daily_limit} sends are used up",
                "今天的 {daily_limit} 次发送额度已用完"
            );
            let to_do = shown(&ErrCode::DAILY_QUOTA.advice(Operation::Send));
            Err(Diagnosis::new(ExitStatus::Refused, Remedy::SlowDown, cause, to_do).into())
        }
        Ok(Quota { daily_limit, remain, .. }) => {
            let left = localized!(
                "{remain} of {daily_limit} sends are left today",
                "今天的发送额度剩余 {remain} 次，共 {daily_limit} 次"
            );
            Ok(((), left))
        }
        // An app without permission for this call can still send.
        Err(refusal) => {
            let refusal = refusal.redact(token.access_token.expose_secret());
            Err(Unsuccessful::Skipped(localized!(
                "Weixin does not report the quota: {refusal}",
                "微信没有返回额度：{refusal}"
            )))
        }
    }
}

/// The diagnosis of a response that is not from Weixin.
fn not_weixin(context: &DoctorContext, error: &DecodeError) -> Diagnosis {
    let (host, error) = (context.network.base().host(), shown(&error.localized()));
    Diagnosis::new(
        ExitStatus::NotSent,
        Remedy::Investigate,
        localized!("the response is not from Weixin: {error}", "响应不是来自微信：{error}"),
        localized!(
            "if this network requires a sign-in, sign in with a browser; otherwise let proxy and firewall pass {host}, \
             and check {API_BASE}",
            "如果当前网络需要登录，请先用浏览器登录；否则请让代理和防火墙放行 {host}，并检查 {API_BASE}"
        ),
    )
}

/// The diagnosis of a call that Weixin refused.
fn refused(context: &DoctorContext, refusal: &ApiError, operation: Operation) -> Diagnosis {
    Diagnosis::of_refusal(&context.app.appid, refusal, operation, SecretPlace::Variable(context.secret_in))
}

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
            Ok(((), detail)) | Err(Unsuccessful::Skipped(detail)) => Ok(detail),
            Err(Unsuccessful::Failed(failure)) => Err(failure.cause),
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
