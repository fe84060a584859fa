//! Weixin's error codes: an open set of numbers, and a table of what is known about them.
//!
//! Only the number decides. The text has typos and changes over the years. It is kept for people.

mod remedy;
mod table;
mod text;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use remedy::Remedy;
pub use table::{ErrCodeInfo, ErrCodeMeaning};
pub use text::{Language, LocalizedText};

/// An `errcode` as Weixin sent it. Numbers outside the table are kept unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrCode(i64);

/// The API call. The same code can mean different things on each.
///
/// Its JSON names are those of the stage in a send result: `token` and `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A call that carries the AppSecret and asks for an access token.
    #[serde(rename = "token")]
    FetchToken,
    /// A call that carries an access token, such as sending a message.
    Send,
}

impl Operation {
    /// The name in JSON, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FetchToken => "token",
            Self::Send => "send",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
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

    /// What the table knows about this code.
    pub fn entry(self) -> Option<&'static ErrCodeInfo> {
        table::find(self)
    }

    /// A short, stable name in `snake_case`; `None` for a code outside the table.
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(ErrCodeInfo::name)
    }

    /// The meaning of the code for this call.
    pub fn meaning(self, operation: Operation) -> LocalizedText {
        self.advice(operation).meaning()
    }

    /// What to do about the code on this call.
    pub fn remedy(self, operation: Operation) -> Remedy {
        self.advice(operation).remedy()
    }

    /// Whether a *send* with this code was refused because of its token. On a token call the code means something
    /// else; a refresh because of it would loop.
    pub const fn is_stale_token(self) -> bool {
        matches!(self, Self::INVALID_CREDENTIAL | Self::INVALID_ACCESS_TOKEN | Self::ACCESS_TOKEN_EXPIRED)
    }

    /// Whether a *token call* with this code may be retried at once. A send is never retried because of its code.
    pub const fn is_transient_on_token_call(self) -> bool {
        matches!(self.0, -1 | 268_487_001 | 268_487_002)
    }

    /// Every code in the table, in rising order.
    pub fn table() -> impl Iterator<Item = &'static ErrCodeInfo> {
        table::all()
    }

    fn advice(self, operation: Operation) -> ErrCodeMeaning {
        self.entry().map_or(table::UNKNOWN, |entry| entry.advice(operation))
    }
}

impl fmt::Display for ErrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrCode, Operation, Remedy};

    #[test]
    fn success_and_names() {
        assert!(ErrCode::OK.is_ok() && !ErrCode::SYSTEM_BUSY.is_ok());
        assert_eq!(
            ErrCode::INVALID_CREDENTIAL.name(),
            ErrCode::INVALID_CREDENTIAL.entry().map(|entry| entry.name())
        );
        assert!(ErrCode::INVALID_CREDENTIAL.name().is_some() && ErrCode::new(7).name().is_none());
    }

    /// Every code that Weixin documents for the calls of this project, and the undocumented -1000.
    #[rustfmt::skip]
    const EXPECTED: &[i64] = &[
        -1000, -1, 0, 40001, 40002, 40003, 40008, 40013, 40014, 40033, 40035, 40036, 40037, 40039, 40048,
        40062, 40066, 40097, 40125, 40129, 40164, 40165, 40166, 40234, 40243, 40249, 41001, 41002, 41004,
        41006, 41009, 41010, 42001, 42007, 43001, 43002, 43003, 43004, 43019, 43101, 43102, 43104, 43106, 43116,
        44002, 45002, 45003, 45004, 45005, 45009, 45011, 45012, 45014, 45015, 45035, 45047, 45051, 45082,
        45093, 45102, 45168, 45501, 46004, 47001, 47002, 47003, 48001, 48002, 48004, 48006, 48008, 48011,
        49003, 50001, 50002, 50003, 50004, 50005, 50007, 61004, 61007, 61024, 76001, 76002, 76003, 76004,
        76021, 76022, 89501, 89503, 89506, 89507, 268_487_001, 268_487_002,
    ];

    #[test]
    fn the_table_has_every_documented_code_once_and_in_order() {
        let codes: Vec<i64> = ErrCode::table().map(|entry| entry.code().get()).collect();
        assert_eq!(codes, EXPECTED);
    }

    #[test]
    fn every_code_of_the_table_is_found() {
        for entry in ErrCode::table() {
            assert_eq!(entry.code().entry(), Some(entry));
        }
    }

    #[test]
    fn names_are_distinct_snake_case_and_texts_are_complete() {
        let mut names = std::collections::BTreeSet::new();
        for entry in ErrCode::table() {
            let code = entry.code();
            assert!(names.insert(entry.name()), "{code}: name used twice");
            assert!(
                entry.name().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "{code}: {}",
                entry.name()
            );
            assert!(
                entry.docs_url().starts_with("https://developers.weixin.qq.com/"),
                "{code}: {}",
                entry.docs_url()
            );
            for operation in [Operation::FetchToken, Operation::Send] {
                code.meaning(operation).assert_complete(&code.to_string());
            }
        }
    }

    #[test]
    fn the_remedy_depends_on_the_kind_of_call() {
        use Remedy::{AllowIp, FixConfig, FixRequest, Investigate, RefreshToken, RetryLater, SlowDown, Stop};
        let cases = [
            // code, on a token call, on a send
            (-1, RetryLater, RetryLater),
            (40001, FixConfig, RefreshToken),
            (40002, FixRequest, FixRequest),
            (40003, Investigate, FixRequest),
            (40013, FixConfig, FixConfig),
            (40014, Investigate, RefreshToken),
            (40037, Investigate, FixConfig),
            (40062, Investigate, FixRequest),
            (40125, FixConfig, FixConfig),
            (40164, AllowIp, AllowIp),
            (40243, FixConfig, FixConfig),
            (41001, FixRequest, FixRequest),
            (42001, Investigate, RefreshToken),
            (43002, FixRequest, FixRequest),
            (43004, Investigate, Stop),
            (43019, Investigate, Stop),
            (43101, Investigate, Stop),
            (45009, SlowDown, SlowDown),
            (45011, SlowDown, SlowDown),
            (45035, AllowIp, AllowIp),
            (47001, FixRequest, FixRequest),
            (47003, FixRequest, FixRequest),
            (48001, FixConfig, FixConfig),
            (48002, Investigate, Stop),
            (50002, Investigate, Stop),
            (50005, Investigate, Stop),
            (50004, FixConfig, FixConfig),
            (50007, FixConfig, FixConfig),
            (61004, AllowIp, AllowIp),
            (61024, FixConfig, FixConfig),
            (76001, Investigate, Investigate),
            (89501, AllowIp, AllowIp),
            (89503, AllowIp, AllowIp),
            (89506, AllowIp, AllowIp),
            (89507, AllowIp, AllowIp),
            (268_487_001, RetryLater, RetryLater),
        ];
        for (code, token_call, send) in cases {
            let code = ErrCode::new(code);
            assert_eq!(code.remedy(Operation::FetchToken), token_call, "{code} on a token call");
            assert_eq!(code.remedy(Operation::Send), send, "{code} on a send");
        }
    }

    #[test]
    fn only_three_codes_mean_a_stale_token_and_those_refresh_on_a_send_only() {
        for entry in ErrCode::table() {
            let code = entry.code();
            let stale = matches!(code.get(), 40001 | 40014 | 42001);
            assert_eq!(code.is_stale_token(), stale, "{code}");
            assert_eq!(code.remedy(Operation::Send) == Remedy::RefreshToken, stale, "{code}");
            assert_ne!(code.remedy(Operation::FetchToken), Remedy::RefreshToken, "{code}");
        }
    }

    #[test]
    fn a_transient_token_call_is_one_to_retry_later() {
        for code in [-1, 268_487_001, 268_487_002].map(ErrCode::new) {
            assert!(code.is_transient_on_token_call(), "{code}");
            assert_eq!(code.remedy(Operation::FetchToken), Remedy::RetryLater, "{code}");
        }
        for code in [0, 40001, 40125, 45009, 45011, 99999].map(ErrCode::new) {
            assert!(!code.is_transient_on_token_call(), "{code}");
        }
    }

    #[test]
    fn unknown_codes_are_kept_verbatim() {
        // 900504 is the control server's own and must never look like one of Weixin's.
        for number in [i64::MIN, -2, 1, 40000, 99999, 900_504, i64::MAX] {
            let code = ErrCode::new(number);
            assert_eq!((code.get(), code.to_string()), (number, number.to_string()));
            assert_eq!((code.entry(), code.name()), (None, None));
            for operation in [Operation::FetchToken, Operation::Send] {
                assert!(code.meaning(operation).to_string().starts_with("unknown to wxsub; "));
                code.meaning(operation).assert_complete("unknown");
                assert_eq!(code.remedy(operation), Remedy::Investigate);
            }
        }
    }

    #[test]
    fn operation_names_are_the_same_in_text_and_json() {
        for (operation, name) in [(Operation::FetchToken, "token"), (Operation::Send, "send")] {
            assert_eq!((operation.as_str(), operation.to_string().as_str()), (name, name));
            assert_eq!(serde_json::to_value(operation).unwrap(), name);
            assert_eq!(serde_json::from_value::<Operation>(name.into()).unwrap(), operation);
        }
    }

    #[test]
    fn a_code_is_a_plain_number_in_json() {
        let json = serde_json::to_string(&ErrCode::INVALID_CREDENTIAL).unwrap();
        assert_eq!(json, "40001");
        assert_eq!(serde_json::from_str::<ErrCode>("-1").unwrap(), ErrCode::SYSTEM_BUSY);
    }
}
