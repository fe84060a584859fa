use std::net::IpAddr;
use std::time::Duration;

/// How Weixin treats one app. In `POST /_sandbox/apps` each is an optional member of the same name, the durations in
/// whole seconds as `token_lifetime_s` and `overlap_s`.
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
    /// How long a token lives: 2 hours.
    pub token_lifetime: Duration,
    /// How long a token stays good beside the next one: 5 minutes. A stable token is renewed this long before its end, but
    /// not before half of its life.
    pub overlap: Duration,
    /// How many characters a token has: 136. At least 32.
    pub token_length: usize,
    /// Who may request, on every endpoint; by default there is no allow-list.
    pub allowed_ips: Option<Vec<IpAddr>>,
    /// Whether the AppSecret is frozen.
    pub frozen: bool,
    /// How many classic tokens a day may be fetched: 2000.
    pub token_quota: u64,
    /// How many sends a day may be tried: 100000, an assumption.
    pub send_quota: u64,
    /// How often a minute each endpoint may be called; by default only `stable_token` is limited, to its documented 10000.
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
