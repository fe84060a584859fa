//! The checks of doctor.

use serde::Serialize;

/// A check. Each check needs the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Check {
    /// Environment variables and flags are valid.
    Configuration,
    /// Host names of Weixin have addresses.
    Dns,
    /// Connections succeed, with TLS and a valid certificate.
    Connection,
    /// Responses are from Weixin.
    Weixin,
    /// This machine's clock agrees with Weixin's.
    Clock,
    /// Weixin accepts calls from this machine's address.
    Address,
    /// AppID and AppSecret are right.
    Secret,
    /// Weixin issues a token that works.
    Token,
    /// The daily quota is not used up.
    Quota,
}

impl Check {
    /// All checks in order.
    pub(super) const ALL: [Self; 9] = [
        Self::Configuration,
        Self::Dns,
        Self::Connection,
        Self::Weixin,
        Self::Clock,
        Self::Address,
        Self::Secret,
        Self::Token,
        Self::Quota,
    ];

    /// Name in the output.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Dns => "dns",
            Self::Connection => "connection",
            Self::Weixin => "weixin",
            Self::Clock => "clock",
            Self::Address => "address",
            Self::Secret => "secret",
            Self::Token => "token",
            Self::Quota => "quota",
        }
    }
}
