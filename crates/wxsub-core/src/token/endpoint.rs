/// The endpoint that issues an app's tokens. Tokens of the two endpoints do not affect each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_enums, reason = "Weixin has these two, and every rule depends on it")]
pub enum TokenEndpoint {
    /// [`GET
    /// /cgi-bin/token`](https://developers.weixin.qq.com/doc/oplatform/developers/dev/AccessToken.html):
    /// each fetch invalidates the token before. Use it if only one program fetches tokens for the app. It survives
    /// an outage of Weixin of one hour.
    #[default]
    Token,
    /// [`POST
    /// /cgi-bin/stable_token`](https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken):
    /// returns the same token until five minutes before its expiry. Use it if another program may fetch tokens for
    /// the app. It survives an outage of Weixin of five minutes.
    StableToken,
}

impl TokenEndpoint {
    /// Returns the name in configuration files: `token` or `stable_token`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::StableToken => "stable_token",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TokenEndpoint;

    #[test]
    fn names() {
        assert_eq!(TokenEndpoint::Token.as_str(), "token");
        assert_eq!(TokenEndpoint::StableToken.as_str(), "stable_token");
    }
}
