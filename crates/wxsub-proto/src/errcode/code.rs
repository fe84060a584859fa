use serde::{Deserialize, Serialize};

/// An `errcode` as Weixin sent it. Numbers outside the table are kept unchanged.
#[derive(
    Debug, derive_more::Display, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ErrCode(i64);

crate::named_enum! {
    /// The API call. The same code can mean different things on each.
    pub enum Operation {
        /// A call that carries the AppSecret and asks for an access token.
        FetchToken = "token",
        /// A call that carries an access token, such as sending a message.
        Send = "send",
    }
}

impl ErrCode {
    /// No error.
    pub const OK: Self = Self(0);
    /// Weixin is busy.
    pub const SYSTEM_BUSY: Self = Self(-1);
    /// Wrong AppSecret on a token call; invalid token on a send.
    pub const INVALID_CREDENTIAL: Self = Self(40001);
    /// `grant_type` is not `client_credential`.
    pub const INVALID_GRANT_TYPE: Self = Self(40002);
    /// The openid is not one of this app's users.
    pub const INVALID_OPENID: Self = Self(40003);
    /// No such AppID.
    pub const INVALID_APPID: Self = Self(40013);
    /// The access token is not one that Weixin knows.
    pub const INVALID_ACCESS_TOKEN: Self = Self(40014);
    /// The template does not belong to this app.
    pub const INVALID_TEMPLATE_ID: Self = Self(40037);
    /// The title is empty or too long.
    pub const INVALID_TITLE_SIZE: Self = Self(40062);
    /// A malformed address, in the message or of the call itself.
    pub const INVALID_URL: Self = Self(40066);
    /// The AppSecret is wrong.
    pub const INVALID_APPSECRET: Self = Self(40125);
    /// The caller's address is not on the app's allow-list.
    pub const IP_NOT_ALLOWED: Self = Self(40164);
    /// The AppSecret was frozen in the console.
    pub const SECRET_FROZEN: Self = Self(40243);
    /// The call carried no access token.
    pub const MISSING_ACCESS_TOKEN: Self = Self(41001);
    /// The call carried no AppID.
    pub const MISSING_APPID: Self = Self(41002);
    /// The call carried no AppSecret.
    pub const MISSING_SECRET: Self = Self(41004);
    /// The access token has expired.
    pub const ACCESS_TOKEN_EXPIRED: Self = Self(42001);
    /// The endpoint takes POST only.
    pub const REQUIRE_POST: Self = Self(43002);
    /// The user refused, or the consent was already used for its one message.
    pub const USER_REFUSED: Self = Self(43101);
    /// The POST had no body.
    pub const EMPTY_POST_DATA: Self = Self(44002);
    /// The daily quota is used up.
    pub const DAILY_QUOTA: Self = Self(45009);
    /// Too many calls within a minute.
    pub const MINUTE_QUOTA: Self = Self(45011);
    /// The body is not JSON.
    pub const DATA_FORMAT: Self = Self(47001);
    /// A field of the body breaks a rule. The text names it.
    pub const ARGUMENT_INVALID: Self = Self(47003);
    /// The app may not use this endpoint.
    pub const API_UNAUTHORIZED: Self = Self(48001);

    /// Wraps a number, known or not.
    pub const fn new(code: i64) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whether this is [`ErrCode::OK`].
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether a *send* with this code was refused because of its token. On a token call the code means something
    /// else; a refresh because of it would loop.
    pub const fn is_stale_token(self) -> bool {
        matches!(self, Self::INVALID_CREDENTIAL | Self::INVALID_ACCESS_TOKEN | Self::ACCESS_TOKEN_EXPIRED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_plain_number_in_json() {
        let json = serde_json::to_string(&ErrCode::INVALID_CREDENTIAL).unwrap();
        assert_eq!(json, "40001");
        assert_eq!(serde_json::from_str::<ErrCode>("-1").unwrap(), ErrCode::SYSTEM_BUSY);
    }
}
