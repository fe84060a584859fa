//! Fetches tokens from Weixin.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};
use wxsub_proto::{AppId, AppSecret, BaseUrl, LocalizedText};

use super::{FetchedToken, RefreshMode, TokenErrorKind, TokenUpstream, UpstreamBehavior, UpstreamRequest};
use crate::clock::Clock;
use crate::hosts::Hosts;
use crate::transport::{HttpRequest, Transport};

wxsub_proto::named_enum! {
    /// The endpoint that issues an app's tokens. Tokens of the two endpoints do not affect each other.
    #[derive(Default)]
    pub enum TokenEndpoint {
        /// [`GET
        /// /cgi-bin/token`](https://developers.weixin.qq.com/doc/oplatform/developers/dev/AccessToken.html):
        /// each fetch invalidates the token before. Use it if only one program fetches tokens for the app. It survives
        /// an outage of Weixin of one hour.
        #[default]
        Token = "token",
        /// [`POST
        /// /cgi-bin/stable_token`](https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken):
        /// returns the same token until five minutes before its expiry. Use it if another program may fetch tokens for
        /// the app. It survives an outage of Weixin of five minutes.
        StableToken = "stable_token",
    }
}

impl TokenEndpoint {
    /// Returns what a fetch from this endpoint does.
    pub fn behavior(self) -> UpstreamBehavior {
        let is_stable = self == Self::StableToken;
        UpstreamBehavior {
            name: LocalizedText::new("Weixin", "微信"),
            invalidates_previous: !is_stable,
            needs_store: true,
            has_forced_refresh: is_stable,
            // Weixin allows 2 000 calls of `/cgi-bin/token` a day. One a minute leaves calls for reports and
            // restarts. `stable_token` has a much higher quota.
            fetch_interval: Duration::from_secs(if is_stable { 10 } else { 60 }),
            poll_interval: None,
        }
    }
}

/// Weixin as the upstream of a token cache.
#[derive(derive_more::Debug)]
#[debug("WeixinUpstream({appid}, {endpoint}, {})", hosts.bases())]
pub(super) struct WeixinUpstream {
    pub(super) appid: AppId,
    pub(super) secret: AppSecret,
    pub(super) endpoint: TokenEndpoint,
    pub(super) hosts: Hosts,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl TokenUpstream for WeixinUpstream {
    fn appid(&self) -> &AppId {
        &self.appid
    }

    fn behavior(&self) -> UpstreamBehavior {
        self.endpoint.behavior()
    }

    /// Calls the preferred host. Tries the next host only if the request was certainly not sent. After any other
    /// failure of a host, the next fetch goes to the next host.
    async fn fetch(&self, request: UpstreamRequest<'_>) -> Result<FetchedToken, TokenErrorKind> {
        let mut hosts_left = self.hosts.bases().count();
        loop {
            let base = self.hosts.preferred(self.clock.now().mono);
            let result = self.call(base, request.mode).await;
            let Err(failure) = &result else { return result };
            if failure.may_pass_at_another_host() {
                self.hosts.failed(base, self.clock.now().mono);
            }
            hosts_left -= 1;
            if hosts_left == 0 || !failure.is_unsent() {
                return result;
            }
        }
    }

    fn on_timeout(&self) {
        let now = self.clock.now().mono;
        self.hosts.failed(self.hosts.preferred(now), now);
    }
}

impl WeixinUpstream {
    async fn call(&self, base: &BaseUrl, mode: RefreshMode) -> Result<FetchedToken, TokenErrorKind> {
        let (appid, secret) = (self.appid.clone(), self.secret.clone());
        let http_request = match (self.endpoint, mode) {
            (TokenEndpoint::Token, _) => HttpRequest::new(base, TokenRequest::new(appid, secret).encode()),
            (TokenEndpoint::StableToken, RefreshMode::Normal) => {
                HttpRequest::new(base, StableTokenRequest::new(appid, secret).encode())
            }
            (TokenEndpoint::StableToken, RefreshMode::Forced) => {
                HttpRequest::new(base, StableTokenRequest::new(appid, secret).force_refresh().encode())
            }
        };
        let exchange = self.transport.execute(http_request.map_err(TokenErrorKind::Transport)?);
        let response = exchange.await.map_err(TokenErrorKind::Transport)?;
        match TokenResponse::parse(response.status, &response.body).map_err(TokenErrorKind::Unreadable)? {
            Ok(response) => Ok(FetchedToken::new(response.access_token, response.expires_in)),
            Err(api_error) => Err(TokenErrorKind::Refused(api_error.redact(self.secret.expose_secret()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refresh::MAX_FETCHES_AT_ONCE;
    use super::*;

    #[test]
    fn each_endpoint_has_its_behavior() {
        for (endpoint, is_stable, seconds) in
            [(TokenEndpoint::Token, false, 60), (TokenEndpoint::StableToken, true, 10)]
        {
            let behavior = endpoint.behavior();
            let UpstreamBehavior { invalidates_previous, has_forced_refresh, fetch_interval, .. } = behavior;
            assert!(behavior.needs_store && behavior.poll_interval.is_none());
            assert_eq!((invalidates_previous, has_forced_refresh), (!is_stable, is_stable));
            assert_eq!(fetch_interval, Duration::from_secs(seconds));
        }
    }

    /// Weixin allows 2 000 calls of `/cgi-bin/token` a day.
    #[test]
    fn a_day_of_fetches_stays_within_the_quota() {
        use crate::clock::MonotonicInstant;
        use crate::rate_limit::TokenBucket;
        for (endpoint, max) in [(TokenEndpoint::Token, 1_460), (TokenEndpoint::StableToken, 8_660)] {
            let mut bucket = TokenBucket::new(MAX_FETCHES_AT_ONCE, endpoint.behavior().fetch_interval);
            let at = |second| MonotonicInstant::from_origin(Duration::from_secs(second));
            let fetches = (0..86_400).filter(|second| bucket.try_acquire(at(*second)).is_ok()).count();
            assert!((max - 1..=max).contains(&fetches), "{endpoint:?}: {fetches}");
        }
    }
}
