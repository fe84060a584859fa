//! The settings of one app.

use std::net::IpAddr;
use std::time::Duration;

/// The settings of one app in the sandbox.
///
/// In `POST /_sandbox/apps` each field is an optional member of the same name. The durations are whole seconds there:
/// `token_lifetime_s` and `overlap_s`.
///
/// ```
/// use wxsub_sandbox::AppSettings;
///
/// let mut settings = AppSettings::default();
/// settings.token_quota = 5;
/// assert_eq!(settings.token_lifetime.as_secs(), 7200);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppSettings {
    /// The lifetime of a token. Default: 2 hours.
    pub token_lifetime: Duration,
    /// How long a token stays valid after the next one was issued. Default: 5 minutes.
    ///
    /// A stable token is renewed this long before it expires, but never before half of its lifetime has passed.
    pub overlap: Duration,
    /// The length of a token in characters, at least 32. Default: 136.
    pub token_length: usize,
    /// The addresses that may call any endpoint. Default: `None`, every address.
    pub allowed_ips: Option<Vec<IpAddr>>,
    /// Whether the AppSecret is frozen. Default: `false`.
    pub frozen: bool,
    /// The maximum number of classic tokens per day. Default: 2000.
    pub token_quota: u64,
    /// The maximum number of sends per day, successful or not. Default: 100000, which is an assumption.
    pub send_quota: u64,
    /// The maximum number of calls per minute and endpoint.
    ///
    /// Default: `None`. Then only `stable_token` has a limit, the documented 10000.
    pub minute_limit: Option<u64>,
}

impl Default for AppSettings {
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(7200),
            overlap: Duration::from_secs(300),
            token_length: 136,
            allowed_ips: None,
            frozen: false,
            token_quota: 2000,
            send_quota: 100_000,
            minute_limit: None,
        }
    }
}
