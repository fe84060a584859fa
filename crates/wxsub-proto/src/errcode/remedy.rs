//! What to do about a refusal.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::LocalizedText;

/// What to do about a refusal. The names are a contract: `snake_case` in JSON, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// Get another access token and send again, once.
    RefreshToken,
    /// Weixin has a bad moment. A token call may be repeated with growing pauses; a send is the caller's
    /// decision.
    RetryLater,
    /// Too many calls: wait a minute, or, where the day's quota is gone, until tomorrow.
    SlowDown,
    /// The request itself is wrong and will be refused every time; change it.
    FixRequest,
    /// AppID, AppSecret, template, domain or permission is wrong; a person has to change it, here or in the
    /// console.
    FixConfig,
    /// Put the calling address on the app's allow-list, or have the administrator confirm it.
    AllowIp,
    /// This user will not get this message: consent spent or refused. Ask for a new one; do not send again.
    Stop,
    /// Nothing certain is known. Keep code, text and trace id, do not repeat, and look into it.
    Investigate,
}

impl Remedy {
    /// The `snake_case` name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::RetryLater => "retry_later",
            Self::SlowDown => "slow_down",
            Self::FixRequest => "fix_request",
            Self::FixConfig => "fix_config",
            Self::AllowIp => "allow_ip",
            Self::Stop => "stop",
            Self::Investigate => "investigate",
        }
    }

    /// What to do, as one line for people.
    pub const fn advice(self) -> LocalizedText {
        match self {
            Self::RefreshToken => LocalizedText::new(
                "get another access token and send again, once; if that does not help, find out who else fetches \
                 access tokens for this app",
                "换一个新的 access_token 再发一次，只一次；如果还不行，查清还有谁在为这个应用取令牌",
            ),
            Self::RetryLater => LocalizedText::new("try again in a while", "过一会儿再试"),
            Self::SlowDown => LocalizedText::new(
                "wait a minute, or until tomorrow if the day's quota is used up",
                "等一分钟；如果当天的额度已用完，就等到明天",
            ),
            Self::FixRequest => LocalizedText::new(
                "correct the request; as it is, it will be refused every time",
                "改正请求；照现在这样，每次都会被拒绝",
            ),
            Self::FixConfig => LocalizedText::new(
                "correct the configuration, here or in Weixin's console",
                "改正配置：本地的，或微信后台的",
            ),
            Self::AllowIp => LocalizedText::new(
                "put this machine's address on the app's allow-list in Weixin's console, or have the administrator \
                 confirm it",
                "在微信后台把本机的 IP 加入该应用的 IP 白名单，或请管理员确认这个 IP",
            ),
            Self::Stop => LocalizedText::new(
                "do not send it again; ask the user for a new consent",
                "不要再发；请用户重新授权",
            ),
            Self::Investigate => LocalizedText::new(
                "look the code up, and do not repeat this before you know what it means",
                "先查清这个编号的含义，弄明白之前不要重复",
            ),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Remedy;

    #[test]
    fn names_are_the_contract_and_advice_is_complete() {
        let names = [
            (Remedy::RefreshToken, "refresh_token"),
            (Remedy::RetryLater, "retry_later"),
            (Remedy::SlowDown, "slow_down"),
            (Remedy::FixRequest, "fix_request"),
            (Remedy::FixConfig, "fix_config"),
            (Remedy::AllowIp, "allow_ip"),
            (Remedy::Stop, "stop"),
            (Remedy::Investigate, "investigate"),
        ];
        for (remedy, name) in names {
            assert_eq!(remedy.to_string(), name);
            let json = serde_json::to_string(&remedy).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Remedy>(&json).unwrap(), remedy);
            remedy.advice().assert_complete(name);
        }
    }
}
