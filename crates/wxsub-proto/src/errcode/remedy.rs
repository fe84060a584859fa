//! Remedies: what to do about an API error. Texts for people in several languages.

use std::fmt;

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
                "add the IP address of this machine to the app's IP allow-list in Weixin's console, or ask the \
                 administrator to confirm it",
                "在微信后台把本机 IP 加入该应用的 IP 白名单，或请管理员确认该 IP",
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

/// The languages of a [`LocalizedText`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

/// One line for people in every [`Language`], without a final full stop. `Display` is English.
///
/// ```
/// use wxsub_proto::{ErrCode, Operation};
/// use wxsub_proto::errcode::Language;
///
/// let meaning = ErrCode::ACCESS_TOKEN_EXPIRED.meaning(Operation::Send);
/// assert_eq!(meaning.to_string(), "the access token has expired");
/// assert_eq!(meaning.in_language(Language::Chinese), "access_token 已过期");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalizedText {
    english: &'static str,
    chinese: &'static str,
}

impl LocalizedText {
    pub(super) const fn new(english: &'static str, chinese: &'static str) -> Self {
        Self { english, chinese }
    }

    /// The line in this language.
    pub const fn in_language(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        }
    }
}

impl fmt::Display for LocalizedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.english)
    }
}

#[cfg(test)]
impl LocalizedText {
    /// Panics unless both languages are present, each in its own script.
    pub(super) fn assert_complete(self, whose: &str) {
        let han = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        for text in [self.english, self.chinese] {
            assert!(
                text.len() > 5 && !text.ends_with(['.', '。']) && !text.contains('\n'),
                "{whose}: {text}"
            );
        }
        assert!(self.english.is_ascii(), "{whose}: {} is not English", self.english);
        assert!(han(self.chinese), "{whose}: {} is not Chinese", self.chinese);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_complete() {
        Remedy::ALL.iter().for_each(|remedy| remedy.advice().assert_complete(remedy.as_str()));
    }

    #[test]
    fn text_is_shown_in_the_requested_language() {
        let text = LocalizedText::new("busy", "忙");
        assert_eq!(text.in_language(Language::English), "busy");
        assert_eq!(text.in_language(Language::Chinese), "忙");
        assert_eq!(text.to_string(), "busy");
    }
}
