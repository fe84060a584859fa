use sha2::{Digest, Sha256};
use wxsub_proto::BaseUrl;

use crate::token::TokenEndpoint;

/// Identifies an upstream: a digest of its base URL and of the endpoint that issues the tokens.
///
/// All hosts of Weixin's API are one upstream. `Display` is 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, derive_more::Display, derive_more::Debug)]
#[display("{:x}", base16ct::HexDisplay(_0))]
#[debug("{self}")]
pub struct UpstreamId([u8; 8]);

impl UpstreamId {
    /// Returns the id of this upstream.
    #[must_use]
    pub fn new(base: &BaseUrl, endpoint: TokenEndpoint) -> Self {
        let weixin = [
            BaseUrl::API_DISASTER_RECOVERY,
            BaseUrl::API_SHANGHAI,
            BaseUrl::API_SHENZHEN,
            BaseUrl::API_HONG_KONG,
        ];
        let base = if weixin.contains(&base.as_str()) { BaseUrl::API } else { base.as_str() };
        let digest = Sha256::digest(format!("{base}\n{}", endpoint.as_str()));
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// Parses the 16 digits. `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        let length = base16ct::lower::decode(text, &mut bytes).ok()?.len();
        (length == bytes.len()).then_some(Self(bytes))
    }
}

/// The upstream of a process, and the one that differs only in its endpoint.
///
/// The tokens of both endpoints are valid for the same app, and neither endpoint invalidates those of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnUpstream {
    pub(crate) id: UpstreamId,
    pub(super) with_other_endpoint: UpstreamId,
}

impl OwnUpstream {
    /// Returns the upstream with this base URL and endpoint.
    #[must_use]
    pub fn new(base: &BaseUrl, endpoint: TokenEndpoint) -> Self {
        let other = match endpoint {
            TokenEndpoint::Token => TokenEndpoint::StableToken,
            TokenEndpoint::StableToken => TokenEndpoint::Token,
        };
        Self { id: UpstreamId::new(base, endpoint), with_other_endpoint: UpstreamId::new(base, other) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_weixin_are_one_upstream_and_endpoints_are_two() {
        let id = |base: &str, endpoint| UpstreamId::new(&BaseUrl::insecure(base).unwrap(), endpoint);
        let weixin = id(BaseUrl::API, TokenEndpoint::Token);
        assert_eq!(id(BaseUrl::API_HONG_KONG, TokenEndpoint::Token), weixin);
        assert_ne!(id(BaseUrl::API, TokenEndpoint::StableToken), weixin);
        assert_ne!(id("http://127.0.0.1:8080", TokenEndpoint::Token), weixin);
        assert_eq!(UpstreamId::parse(&weixin.to_string()), Some(weixin));
        for invalid in ["", "0", "+123456789abcdef", "0123456789ABCDEF", "0123456789abcdef0"] {
            assert_eq!(UpstreamId::parse(invalid), None, "{invalid}");
        }
    }
}
