use serde::Serialize;

/// What is looked at, in this order: each needs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Check {
    /// Environment and flags.
    Configuration,
    /// The name of Weixin's host.
    Dns,
    /// TCP, TLS and the certificate.
    Connection,
    /// Whether it is Weixin that answers.
    Weixin,
    /// This machine's against Weixin's.
    Clock,
    /// Whether Weixin takes calls from this machine's address.
    Address,
    /// AppID and AppSecret.
    Secret,
    /// Whether a token is issued and works.
    Token,
    /// Whether sends are left today.
    Quota,
}

impl Check {
    /// All of them.
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

    /// As it is printed.
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
