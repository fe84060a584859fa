//! What to do about a refusal.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    fn names_are_the_contract_and_survive_json() {
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
        }
    }
}
