//! Weixin's error responses: error codes with the messages of real responses.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::ErrCode;

/// An error response of Weixin: code and message, without the `rid`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: ErrCode,
    message: Cow<'static, str>,
}

impl ApiError {
    pub(crate) fn new(code: ErrCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// The error for a [fault](crate::Fault::ErrCode), with Weixin's message for the code.
    pub(crate) fn for_fault(code: ErrCode, client_ip: IpAddr) -> Self {
        match code {
            ErrCode::IP_NOT_ALLOWED => Self::ip_not_allowed(client_ip),
            code => code.into(),
        }
    }

    /// The error for an address that is not in the allow-list. Its message quotes the address.
    pub(crate) fn ip_not_allowed(client_ip: IpAddr) -> Self {
        let v6 = match client_ip.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let message = format!("invalid ip {} ipv6 {v6}, not in whitelist", client_ip.to_canonical());
        Self::new(ErrCode::IP_NOT_ALLOWED, message)
    }

    /// The response body, in Weixin's format.
    pub(crate) fn to_json(&self, now: Duration) -> Value {
        let Self { code, message } = self;
        match *code {
            ErrCode::OK => json!({"errcode": code, "errmsg": message}),
            _ => {
                json!({"errcode": code, "errmsg": format!("{message} rid: {}", request_id(now))})
            }
        }
    }
}

impl From<ErrCode> for ApiError {
    fn from(code: ErrCode) -> Self {
        Self::new(code, message(code))
    }
}

/// Generates the `rid` of one call: three groups of eight hex digits. The first group is the Unix time in seconds.
pub(crate) fn request_id(now: Duration) -> String {
    let random = || getrandom::u32().unwrap_or_default();
    format!("{:08x}-{:08x}-{:08x}", now.as_secs() & 0xffff_ffff, random(), random())
}

/// The message of a real response with this code, where one is known. The other messages imitate their style.
fn message(code: ErrCode) -> &'static str {
    match code.get() {
        0 => "ok",
        -1 => "system error",
        40001 => {
            "invalid credential, access_token is invalid or not latest, could get access_token by \
             getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
        }
        40002 => "invalid grant_type",
        40003 => "invalid openid",
        40013 => "invalid appid",
        40014 => "invalid access_token",
        40037 => "invalid template_id",
        40062 => "invalid title size",
        40066 => "invalid url",
        40125 => "invalid appsecret",
        40129 => "invalid scene",
        40165 => "invalid weapp pagepath",
        40166 => "invalid weapp appid",
        40243 => "appsecret is frozen",
        41001 => "access_token missing",
        41002 => "appid missing",
        41004 => "appsecret missing",
        42001 => "access_token expired",
        43001 => "require GET method",
        43002 => "require POST method",
        43004 => "require subscribe",
        43101 => "user refuse to accept the msg",
        44002 => "empty post data",
        45009 => "reach max api daily quota limit",
        45011 => "api minute-quota reach limit, must slower, retry next minute",
        47001 => "data format error",
        47003 => "argument invalid!",
        48001 => "api unauthorized",
        48004 => "api forbiddden for irregularities, view detail on mp.weixin.qq.com",
        48011 => "disabled template id",
        50002 => "user limited",
        76021 => "cgi_path not found, please check",
        _ => "rejected by the sandbox",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: "Get rid info" (service/openApi/get_rid_info.html), whose sample has this time and this first group.
    #[test]
    fn request_id_starts_with_unix_time() {
        let id = request_id(Duration::from_secs(1_635_156_704));
        let groups: Vec<_> = id.split('-').collect();
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0], "617682e0");
        assert!(groups.iter().all(|group| group.len() == 8 && group.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
