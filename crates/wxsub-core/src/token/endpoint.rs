/// Which endpoint an app's tokens come from. Tokens of the two do not affect each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_enums, reason = "Weixin has these two, and every rule must say which it is for")]
pub enum TokenEndpoint {
    /// `GET /cgi-bin/token`: each fetch ends the token before it. Right where one place alone fetches; it rides out an
    /// outage of an hour.
    #[default]
    Token,
    /// `POST /cgi-bin/stable_token`: hands out the same token until five minutes before its end. The better choice
    /// where somebody else may fetch tokens for this app too; the outage it rides out is five minutes.
    StableToken,
}

impl TokenEndpoint {
    /// As in configurations: `token` or `stable_token`.
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
