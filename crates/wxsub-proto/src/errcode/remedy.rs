//! Remedies: what to do about an API error.

use crate::LocalizedText;

crate::named_enum! {
    /// What to do about an API error. The names are a contract.
    #[non_exhaustive]
    pub enum Remedy {
        /// Refresh the access token and send again, once.
        RefreshToken = "refresh_token",
        /// Weixin is busy. A token call may be repeated with backoff. The caller decides about a send.
        RetryLater = "retry_later",
        /// Too many calls: wait a minute, or until tomorrow if the daily quota is used up.
        SlowDown = "slow_down",
        /// The request is wrong. Weixin refuses it again without a change.
        FixRequest = "fix_request",
        /// AppID, AppSecret, template, domain or permission is wrong. An operator has to correct it, here or in Weixin's
        /// console.
        FixConfig = "fix_config",
        /// Add the calling IP address to the app's IP allow-list, or ask the administrator to confirm it.
        AllowIp = "allow_ip",
        /// The consent is used or refused. Do not send again; ask the user for a new consent.
        Stop = "stop",
        /// The cause is unknown. Keep code, text and trace id, and do not repeat the call.
        Investigate = "investigate",
    }
}

impl Remedy {
    /// What to do, as one line for people.
    pub const fn advice(self) -> LocalizedText {
        match self {
            Self::RefreshToken => LocalizedText::new(
                "refresh the access token and send again, once; if Weixin rejects it again, find the other program that \
                 fetches access tokens for this app",
                "刷新 access_token 后重发一次；如果微信仍返回 access_token 失效，请排查是否有其他程序也在获取该应用的 access_token",
            ),
            Self::RetryLater => LocalizedText::new("retry later", "稍后重试"),
            Self::SlowDown => LocalizedText::new(
                "wait a minute, or until tomorrow if the daily quota is used up",
                "请一分钟后再试；如果当日额度已用完，请次日再试",
            ),
            Self::FixRequest => LocalizedText::new(
                "correct the request; Weixin refuses it again without a change",
                "请修改请求；原样重试仍会被微信拒绝",
            ),
            Self::FixConfig => LocalizedText::new(
                "correct the configuration, here or in Weixin's console",
                "请修改本地配置，或到微信后台修改设置",
            ),
            Self::AllowIp => LocalizedText::new(
                "add the IP address that Weixin saw, of the caller or of its proxy, to the app's IP allow-list in Weixin's \
                 console, or ask the administrator to confirm it",
                "在微信后台把微信看到的 IP（调用方或其代理的 IP）加入该应用的 IP 白名单，或请管理员确认该 IP",
            ),
            Self::Stop => LocalizedText::new(
                "do not send it again; ask the user for a new consent",
                "不要重发；请用户重新授权",
            ),
            Self::Investigate => LocalizedText::new(
                "look the code up, and do not repeat the call until you know what it means",
                "请先查清该错误码的含义，查清之前不要重试",
            ),
        }
    }
}
