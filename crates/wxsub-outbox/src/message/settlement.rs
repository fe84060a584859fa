//! How an attempt ended.

use wxsub_core::SendError;
use wxsub_core::error::Delivery;
use wxsub_proto::{ErrCode, Operation, Remedy};

use crate::state::Stage;

/// The end of an attempt, as its owner reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Weixin accepted the message.
    Sent,
    /// Weixin refused the message, and would refuse it again.
    Refused(Detail),
    /// No byte of the message left. The attempt counts as a failure.
    NotSent(Detail),
    /// Weixin did not process the message, for a reason that concerns the app. No failure.
    NotAccepted(NotAccepted, Detail),
    /// The message may have arrived.
    Unknown(Detail),
}

/// Why an app must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotAccepted {
    /// Weixin called the token stale, and the one after it too.
    StaleToken,
    /// 45009: the calls of the day are used up.
    DailyQuota,
    /// 45011: too many calls within a minute.
    MinuteQuota,
    /// There was no token to send with.
    NoToken,
}

/// What is known of the end of an attempt. It holds no secret and no URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// The step at which it ended.
    pub stage: Option<Stage>,
    /// Weixin's error code.
    pub errcode: Option<ErrCode>,
    /// Weixin's text, or what failed.
    pub errmsg: Option<String>,
    /// Weixin's id of the request, for its support.
    pub rid: Option<String>,
    /// What to do.
    pub remedy: Option<Remedy>,
}

/// Of a message whose grant has no row.
pub(super) const LOST_GRANT: &str =
    "grant: the ledger has lost it; restore its row from a backup, or ask the user for a new consent";

impl Settlement {
    /// What the result of [`Client::send`](wxsub_core::Client::send) says about the message.
    #[must_use]
    pub fn of_result(result: &Result<(), SendError>) -> Self {
        let Err(error) = result else { return Self::Sent };
        let detail = Detail::of_error(error);
        match (error.operation(), error.delivery()) {
            (_, Delivery::MaybeSent) => Self::Unknown(detail),
            // Weixin's response to a token call says nothing about the message.
            (Operation::FetchToken, Delivery::NotSent | Delivery::Rejected) => {
                Self::NotAccepted(NotAccepted::NoToken, detail)
            }
            (Operation::Send, Delivery::NotSent) => Self::NotSent(detail),
            (Operation::Send, Delivery::Rejected) => match error.errcode() {
                Some(ErrCode::DAILY_QUOTA) => Self::NotAccepted(NotAccepted::DailyQuota, detail),
                Some(ErrCode::MINUTE_QUOTA) => Self::NotAccepted(NotAccepted::MinuteQuota, detail),
                Some(code) if code.is_stale_token() => Self::NotAccepted(NotAccepted::StaleToken, detail),
                // 0 is no refusal.
                Some(code) if code.is_ok() => Self::Unknown(detail),
                Some(_) => Self::Refused(detail),
                None => Self::Unknown(detail),
            },
        }
    }
}

impl Detail {
    /// Of a message that breaks these rules.
    #[must_use]
    pub fn invalid(problems: String) -> Self {
        Self { errmsg: Some(problems), remedy: Some(Remedy::FixRequest), ..Self::default() }
    }

    /// Of an attempt that its worker ended before it called Weixin.
    #[must_use]
    pub fn not_posted(why: &str) -> Self {
        Self { stage: Some(Stage::Claim), errmsg: Some(why.to_owned()), ..Self::default() }
    }

    /// Of a message that cannot be posted, because the row of its grant is missing.
    pub(crate) fn lost_grant() -> Self {
        Self {
            stage: Some(Stage::Grant),
            errmsg: Some(LOST_GRANT.to_owned()),
            remedy: Some(Remedy::Stop),
            ..Self::default()
        }
    }

    /// Of an attempt for which no token came in time.
    pub(crate) fn no_token() -> Self {
        Self {
            stage: Some(Stage::Token),
            errmsg: Some("no access token came within 30 s of its claim".to_owned()),
            remedy: Some(Remedy::RetryLater),
            ..Self::default()
        }
    }

    /// Of an attempt about which nothing more is known than this text.
    #[must_use]
    pub fn unknown(why: &str) -> Self {
        Self {
            stage: Some(Stage::Send),
            errmsg: Some(why.to_owned()),
            remedy: Some(Remedy::Investigate),
            ..Self::default()
        }
    }

    fn of_error(error: &SendError) -> Self {
        let stage = match error.operation() {
            Operation::FetchToken => Stage::Token,
            Operation::Send => Stage::Send,
        };
        let errmsg =
            error.api_error().map_or_else(|| error.to_string(), |api_error| api_error.errmsg().to_owned());
        Self {
            stage: Some(stage),
            errcode: error.errcode(),
            errmsg: Some(errmsg),
            rid: error.trace_id().map(|rid| rid.as_str().to_owned()),
            remedy: Some(error.remedy()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use wxsub_core::Client;
    use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
    use wxsub_proto::{Grant, Message};

    use super::*;

    const TOKEN: &str = "/cgi-bin/token";
    const SEND: &str = "/cgi-bin/message/template/subscribe";

    fn json(body: &str) -> MockResponse {
        MockResponse::json(body)
    }

    /// Weixin issues one token, and another when that one is stale.
    async fn send(response: MockResponse) -> Settlement {
        let weixin = Arc::new(MockTransport::new());
        weixin.respond_once(TOKEN, json(r#"{"access_token":"T1","expires_in":7200}"#));
        weixin.respond_always(TOKEN, json(r#"{"access_token":"T2","expires_in":7200}"#));
        weixin.respond_always(SEND, response);
        settlement(weixin).await
    }

    async fn settlement(weixin: Arc<MockTransport>) -> Settlement {
        let clock = Arc::new(ManualClock::new());
        let client = Client::builder("wx1", "SECRET", weixin);
        let client = client.clock(clock.clone()).build().unwrap();
        let grant = Grant::assume_verified("o", "T", 7).unwrap();
        let message = Message::builder(grant).title("t").content("c").build().unwrap();
        let sending = tokio::spawn(async move { client.send(&message).await });
        clock.advance_and_run(Duration::from_secs(60)).await;
        Settlement::of_result(&sending.await.unwrap())
    }

    /// What the result is called, and its stage, errcode and remedy.
    fn seen(settlement: &Settlement) -> (&'static str, Option<Stage>, Option<i64>, Option<Remedy>) {
        let (name, detail) = match settlement {
            Settlement::Sent => return ("sent", None, None, None),
            Settlement::Refused(detail) => ("refused", detail),
            Settlement::NotSent(detail) => ("not sent", detail),
            Settlement::NotAccepted(NotAccepted::StaleToken, detail) => ("stale token", detail),
            Settlement::NotAccepted(NotAccepted::DailyQuota, detail) => ("daily quota", detail),
            Settlement::NotAccepted(NotAccepted::MinuteQuota, detail) => ("minute quota", detail),
            Settlement::NotAccepted(NotAccepted::NoToken, detail) => ("no token", detail),
            Settlement::Unknown(detail) => ("unknown", detail),
        };
        (name, detail.stage, detail.errcode.map(ErrCode::get), detail.remedy)
    }

    #[tokio::test]
    async fn each_result_of_a_send_has_its_settlement() {
        let refusal = |code: i64| json(&format!(r#"{{"errcode":{code},"errmsg":"no, rid: 1-2-3"}}"#));
        let stage = Some(Stage::Send);
        for (response, expected) in [
            (refusal(0), ("sent", None, None, None)),
            (refusal(43101), ("refused", stage, Some(43101), Some(Remedy::Stop))),
            (refusal(47003), ("refused", stage, Some(47003), Some(Remedy::FixRequest))),
            (refusal(-1), ("refused", stage, Some(-1), Some(Remedy::RetryLater))),
            (refusal(45009), ("daily quota", stage, Some(45009), Some(Remedy::SlowDown))),
            (refusal(45011), ("minute quota", stage, Some(45011), Some(Remedy::SlowDown))),
            (refusal(40001), ("stale token", stage, Some(40001), Some(Remedy::RefreshToken))),
            (refusal(40014), ("stale token", stage, Some(40014), Some(Remedy::RefreshToken))),
            (refusal(42001), ("stale token", stage, Some(42001), Some(Remedy::RefreshToken))),
            (json("{}"), ("unknown", stage, None, Some(Remedy::Investigate))),
            (
                MockResponse::Response(502, "<html>".into()),
                ("unknown", stage, None, Some(Remedy::Investigate)),
            ),
            (MockResponse::lose_response(), ("unknown", stage, None, Some(Remedy::Investigate))),
            (MockResponse::refuse_connection(), ("not sent", stage, None, Some(Remedy::RetryLater))),
        ] {
            let text = format!("{response:?}");
            assert_eq!(seen(&send(response).await), expected, "{text}");
        }
    }

    /// Also if the response to a token call was lost: the message was not posted.
    #[tokio::test]
    async fn a_token_call_never_makes_a_message_unknown() {
        let stage = Some(Stage::Token);
        for (response, code, remedy) in [
            (json(r#"{"errcode":40125,"errmsg":"invalid appsecret"}"#), Some(40125), Remedy::FixConfig),
            (MockResponse::lose_response(), None, Remedy::RetryLater),
            (MockResponse::refuse_connection(), None, Remedy::RetryLater),
        ] {
            let weixin = Arc::new(MockTransport::new());
            weixin.respond_always(TOKEN, response);
            assert_eq!(seen(&settlement(weixin).await), ("no token", stage, code, Some(remedy)));
        }
    }

    #[tokio::test]
    async fn the_detail_of_a_refusal_is_weixins_own_text() {
        let refusal = json(r#"{"errcode":43101,"errmsg":"user refuse to accept the msg, rid: 64a-1b-2c"}"#);
        let settled = send(refusal).await;
        let Settlement::Refused(detail) = settled else { panic!("{settled:?}") };
        assert!(detail.errmsg.is_some_and(|text| text.starts_with("user refuse to accept the msg")));
        assert_eq!(detail.rid.as_deref(), Some("64a-1b-2c"));
    }
}
