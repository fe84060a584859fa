//! The rate of failed logins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use wxsub_core::clock::MonotonicInstant;
use wxsub_core::rate_limit::TokenBucket;

use super::known_browser::KnownBrowser;
use crate::state::connections::group;
use crate::state::locked;

/// So many failures of an address, or of a known browser, are not slowed.
const PROMPT_FAILURES: u32 = 5;

/// So many failures of a name are not slowed, from all addresses together.
const PROMPT_FAILURES_OF_NAME: u32 = 20;

/// Then one attempt in each interval.
const FAILURE_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum number of sources that are known. All others share one limit.
const MAX_SOURCES: usize = 10_000;

/// Maximum length of a name in the limiter, in characters. No user has a longer one.
const MAX_NAME_CHARS: usize = 64;

/// What failed logins are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    Address(Option<IpAddr>),
    Name(String),
    Browser(KnownBrowser),
    /// All that are not known.
    Other,
}

/// The sources of one login.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoginSources(Vec<Source>);

impl LoginSources {
    /// A browser in which the user has logged in before counts alone. So attacks from its address or on its user's name do not
    /// slow it.
    pub(super) fn new(address: Option<IpAddr>, name: &str, browser: Option<&KnownBrowser>) -> Self {
        Self(match browser {
            Some(browser) => vec![Source::Browser(browser.clone())],
            None => {
                let name = name.chars().take(MAX_NAME_CHARS).collect();
                vec![Source::Address(address.map(group)), Source::Name(name)]
            }
        })
    }
}

/// The failed logins of all sources.
#[derive(Default)]
pub(super) struct LoginLimiter(Mutex<HashMap<Source, TokenBucket>>);

impl LoginLimiter {
    /// Begins a login. It counts as failed for the sources that this returns, until their [`release`](Self::release).
    ///
    /// # Errors
    /// How long to wait. The login does not count then.
    pub(super) fn begin(
        &self,
        sources: &LoginSources,
        now: MonotonicInstant,
    ) -> Result<LoginSources, Duration> {
        let mut known = locked(&self.0);
        if known.len() >= MAX_SOURCES {
            known.retain(|_, bucket| bucket.wait(now) > Duration::ZERO);
        }
        let is_full = known.len() >= MAX_SOURCES;
        let key = |source| if is_full && !known.contains_key(source) { &Source::Other } else { source };
        let keys: Vec<_> = sources.0.iter().map(key).collect();
        let mut wait = |key: &Source| known.entry(key.clone()).or_insert_with(|| bucket_of(key)).wait(now);
        let wait = keys.iter().map(|key| wait(key)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        let counted: Vec<_> = keys.into_iter().cloned().collect();
        for source in &counted {
            known.entry(source.clone()).and_modify(|bucket| bucket.force_acquire(now));
        }
        Ok(LoginSources(counted))
    }

    /// The login of these sources, which [`begin`](Self::begin) returned, did not fail.
    pub(super) fn release(&self, counted: &LoginSources) {
        let mut known = locked(&self.0);
        for source in &counted.0 {
            known.entry(source.clone()).and_modify(TokenBucket::release);
        }
    }
}

fn bucket_of(source: &Source) -> TokenBucket {
    let prompt = if matches!(source, Source::Name(_)) { PROMPT_FAILURES_OF_NAME } else { PROMPT_FAILURES };
    TokenBucket::new(prompt, FAILURE_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicInstant {
        MonotonicInstant::from_origin(Duration::from_secs(1_000 + seconds))
    }

    fn from(address: u8, name: &str) -> LoginSources {
        LoginSources::new(Some([192, 0, 2, address].into()), name, None)
    }

    fn begin(limiter: &LoginLimiter, sources: &LoginSources, now: MonotonicInstant) -> Result<(), Duration> {
        limiter.begin(sources, now).map(drop)
    }

    #[test]
    fn five_failures_of_an_address_are_prompt_and_then_one_in_ten_seconds() {
        let limiter = LoginLimiter::default();
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(begin(&limiter, &from(1, name), at(0)), Ok(()));
        }
        assert_eq!(begin(&limiter, &from(1, "a"), at(0)), Err(Duration::from_secs(10)));
        assert_eq!(begin(&limiter, &from(2, "a"), at(0)), Ok(()));
        assert_eq!(begin(&limiter, &from(1, "a"), at(10)), Ok(()));
        limiter.release(&from(1, "a"));
        assert_eq!(begin(&limiter, &from(1, "a"), at(10)), Ok(()));
        assert!(limiter.begin(&from(1, "a"), at(10)).is_err());
    }

    #[test]
    fn successful_login_of_an_unknown_source_releases_the_shared_limit() {
        let limiter = LoginLimiter::default();
        // Each of them has to wait, so it stays known.
        for source in 0..u32::try_from(MAX_SOURCES).unwrap() {
            let address = Source::Address(Some(std::net::Ipv4Addr::from(source).into()));
            let mut bucket = bucket_of(&address);
            (0..PROMPT_FAILURES).for_each(|_| bucket.force_acquire(at(0)));
            locked(&limiter.0).insert(address, bucket);
        }
        for _ in 0..20 {
            let sources = from(1, "ops");
            let counted = limiter.begin(&sources, at(0)).unwrap();
            limiter.release(&counted);
        }
    }

    #[test]
    fn twenty_failures_of_a_name_are_prompt_and_a_known_browser_need_not_wait() {
        let limiter = LoginLimiter::default();
        for address in 0..20 {
            assert_eq!(begin(&limiter, &from(address, "ops"), at(0)), Ok(()));
        }
        for address in 20..200 {
            assert_eq!(begin(&limiter, &from(address, "ops"), at(0)), Err(Duration::from_secs(10)));
        }
        let browser = KnownBrowser::generate().unwrap();
        let known = LoginSources::new(Some([192, 0, 2, 1].into()), "ops", Some(&browser));
        for _ in 0..5 {
            assert_eq!(begin(&limiter, &known, at(0)), Ok(()));
        }
        assert_eq!(begin(&limiter, &known, at(0)), Err(Duration::from_secs(10)));
        // The refused logins did not count for their addresses.
        assert_eq!(begin(&limiter, &from(20, "ann"), at(0)), Ok(()));
    }
}
