//! Sends one message and reports the outcome.

use std::time::Duration;

use wxsub_api::{SendResult, SendStage, SendStatus};
use wxsub_client::{ControlServer, ControlServerError, ControlServerSendError};
use wxsub_core::Client;
use wxsub_core::quota::MINUTE_QUOTA_DELAY;
use wxsub_proto::{AppId, ErrCode, LocalizedText, Message, Operation, Remedy};
use wxsub_server::failed_send;

use super::flow::{Block, Signal};
use crate::describe::{describe_refusal, describe_send_error};
use crate::diagnosis::Diagnosis;
use crate::error::ExitStatus;
use crate::interrupt::Interrupt;
use crate::language::{advice, localized, shown};

/// Sends messages.
pub(super) enum Sender {
    /// To Weixin.
    Direct(Client),
    /// To a control server, for this app.
    ControlServer(AppId, ControlServer),
}

/// Outcome of an attempt to send a message.
pub(super) struct SendReport {
    /// The result for the output.
    pub(super) result: SendResult,
    /// Description for the user; `None` if the message was sent.
    pub(super) description: Option<String>,
    /// Time to wait before the next attempt, if known.
    pub(super) retry_after: Option<Duration>,
}

const STOPPED: LocalizedText = LocalizedText::new(
    "stopped before the control server responded; the message may have been sent, do not blindly repeat it",
    "在中控服务器响应之前停止了；消息可能已发出，确认之前不要重发",
);

/// Sends the message. Stops at the second stop signal.
pub(super) async fn deliver(sender: &Sender, message: &Message, interrupt: &Interrupt) -> SendReport {
    match sender {
        Sender::Direct(client) => match client.send_until(message, interrupt.forced()).await {
            Ok(()) => SendReport::new(SendResult::sent(message), None),
            Err(error) => SendReport {
                retry_after: error.retry_after().map(|wait| match error.operation() {
                    // Until the next token attempt ends, the token source returns the same error.
                    Operation::FetchToken => wait + TOKEN_ATTEMPT_TIME,
                    Operation::Send => wait,
                }),
                ..SendReport::new(failed_send(message, &error), Some(describe_send_error(&error)))
            },
        },
        Sender::ControlServer(appid, server) => tokio::select! {
            biased;
            sent = server.send(appid, message) => match sent {
                Ok(()) => SendReport::new(SendResult::sent(message), None),
                Err(error) => SendReport {
                    retry_after: error.retry_after(),
                    ..SendReport::new(error.result().clone(), Some(describe(&error)))
                },
            },
            () = interrupt.forced() => SendReport::new(SendResult::given_up(message), Some(shown(&STOPPED).to_owned())),
        },
    }
}

/// Usual time of a token attempt that gets a response.
const TOKEN_ATTEMPT_TIME: Duration = Duration::from_secs(1);

impl SendReport {
    /// Creates a report without a time to wait.
    pub(super) fn new(result: SendResult, description: Option<String>) -> Self {
        Self { result, description, retry_after: None }
    }

    /// What the outcome means for the following lines.
    pub(super) fn signal(&self) -> Signal {
        let (errcode, stage) = match self.result.api_error() {
            Some((refusal, stage)) => (Some(refusal.errcode()), stage),
            None => (None, None),
        };
        match (self.result.outcome, errcode, self.result.remedy) {
            (SendStatus::Sent | SendStatus::Invalid, ..) => Signal::Responded,
            (SendStatus::MaybeSent, ..) => Signal::NoResponse,
            (_, Some(ErrCode::DAILY_QUOTA), _) => Signal::Blocked(Block::DailyQuota),
            (_, Some(ErrCode::MINUTE_QUOTA), _) => {
                Signal::RateLimited(self.retry_after.unwrap_or(MINUTE_QUOTA_DELAY))
            }
            (_, Some(code), _)
                if stage == Some(Operation::FetchToken)
                    && code.remedy(Operation::FetchToken) != Remedy::RetryLater =>
            {
                Signal::Blocked(Block::TokenRefused)
            }
            (_, _, Some(Remedy::FixConfig | Remedy::AllowIp)) => Signal::Blocked(Block::Configuration),
            (SendStatus::Refused, ..) => Signal::Responded,
            (SendStatus::NotSent, _, Some(Remedy::SlowDown)) => {
                Signal::RateLimited(self.retry_after.unwrap_or(MINUTE_QUOTA_DELAY))
            }
            // The request is wrong, or the grant does not allow it, so a retry would get the same response.
            (SendStatus::NotSent, _, Some(Remedy::FixRequest | Remedy::Stop)) => Signal::Responded,
            (SendStatus::NotSent, ..) => Signal::NotReached(self.retry_after.unwrap_or_default()),
        }
    }

    /// Whether a later command can send the message: it was not sent, or Weixin refused it because of a quota.
    pub(super) fn can_be_continued(&self) -> bool {
        let errcode = self.result.api_error().map(|(refusal, _)| refusal.errcode());
        let is_quota = matches!(errcode, Some(ErrCode::DAILY_QUOTA | ErrCode::MINUTE_QUOTA));
        match self.result.outcome {
            SendStatus::NotSent => self.result.stage != Some(SendStage::Grant),
            SendStatus::Refused => is_quota,
            SendStatus::Sent | SendStatus::Invalid | SendStatus::MaybeSent => false,
        }
    }
}

/// Describes why the control server did not send the message.
fn describe(error: &ControlServerSendError) -> String {
    let cause = shown(&error.error().localized());
    match error.error() {
        ControlServerError::NotReached(_) => {
            localized!("{cause}; it is safe to try again", "{cause}；可以放心重试")
        }
        ControlServerError::ResponseLost(_) => {
            localized!("{cause}; do not blindly repeat the message", "{cause}；确认之前不要重发")
        }
        ControlServerError::Timeout => {
            localized!(
                "{cause}; the message may have been sent, do not blindly repeat it",
                "{cause}；消息可能已发出，确认之前不要重发"
            )
        }
        ControlServerError::Problem { status, .. } => describe_response(error, *status),
        ControlServerError::InvalidResponse { status } => localized!(
            "invalid response from the control server (status {status}); the message may have been sent, do not \
             blindly repeat it",
            "中控服务器的响应无效（状态码 {status}）；消息可能已发出，确认之前不要重发"
        ),
        // The type can get more variants.
        _ => cause,
    }
}

/// Describes the response of the control server.
fn describe_response(error: &ControlServerSendError, status: u16) -> String {
    let result = error.result();
    if let Some((refusal, stage)) = result.api_error() {
        return match stage {
            Some(Operation::FetchToken) => {
                let refusal = describe_refusal(&refusal, Operation::FetchToken);
                localized!("the message was not sent: {refusal}", "消息没有发出：{refusal}")
            }
            Some(Operation::Send) | None => describe_refusal(&refusal, Operation::Send),
        };
    }
    let meaning = match result.outcome {
        SendStatus::NotSent if result.stage == Some(SendStage::Grant) => localized!(
            "no grant allows the message: another message has it, or there is none; nothing was sent",
            "没有可用的授权：授权被另一条消息占用，或没有授权；消息没有发出"
        ),
        SendStatus::NotSent => {
            let Diagnosis { cause, to_do, .. } =
                Diagnosis::of_server_error(error.error(), ExitStatus::NotSent);
            return localized!(
                "{cause}; the message was certainly not sent, and it is safe to try again; what to do: {to_do}",
                "{cause}；消息确定没有发出，可以放心重试；处理建议：{to_do}"
            );
        }
        SendStatus::Invalid => localized!("the message is invalid", "消息无效"),
        SendStatus::Refused => localized!("Weixin refused the message", "微信拒绝了该消息"),
        SendStatus::MaybeSent | SendStatus::Sent => {
            let decide = result.id.as_ref().map(|id| {
                localized!(
                    "; when you know, run `wxsub outbox decide {id}`",
                    "；确认之后请运行 `wxsub outbox decide {id}`"
                )
            });
            return localized!(
                "the control server responded with {status}: the message may have been sent; do not blindly repeat it",
                "中控服务器返回状态码 {status}：消息可能已发出，确认之前不要重发"
            ) + &decide.unwrap_or_default();
        }
    };
    let advice = result.remedy.map(advice);
    let advice =
        advice.map(|advice| localized!("; what to do: {advice}", "；处理建议：{advice}")).unwrap_or_default();
    localized!(
        "the control server responded with {status}: {meaning}{advice}",
        "中控服务器返回状态码 {status}：{meaning}{advice}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wxsub_api::Problem;

    use super::*;

    /// Report for a response: status, outcome, errcode, remedy and stage, `-` for none, and `Retry-After`.
    fn report(response: &str, retry_after: Option<Duration>) -> SendReport {
        let message: Message = serde_json::from_str(
            r#"{"touser":"o","template_id":"T","scene":"1","title":"t","data":{"content":{"value":"v"}}}"#,
        )
        .unwrap();
        let words: Vec<_> = response.split(' ').map(|word| Some(word).filter(|word| *word != "-")).collect();
        let [status, outcome, errcode, remedy, stage] = words[..] else { panic!("{response}") };
        let errcode: Option<i64> = errcode.map(|errcode| errcode.parse().unwrap());
        let body =
            json!({"outcome": outcome, "errcode": errcode, "remedy": remedy, "stage": stage}).to_string();
        let result =
            Problem::parse_send_result(&message, status.unwrap().parse().unwrap(), body.as_bytes()).unwrap();
        SendReport { retry_after, ..SendReport::new(result, None) }
    }

    /// The exit status, the signal, and whether a later command sends the line.
    #[test]
    fn each_response_has_its_exit_status_and_signal() {
        use ExitStatus::{MaybeSent, NotSent, Refused, Success, Usage};
        use Signal::{Blocked, NoResponse, NotReached, RateLimited, Responded};
        let (none, five, zero) = (None, Some(Duration::from_secs(5)), Duration::ZERO);
        let after = Duration::from_secs(5);
        for (response, retry_after, exit, signal, continues) in [
            ("200 sent - - -", none, Success, Responded, false),
            ("422 refused 43101 stop send", none, Refused, Responded, false),
            ("422 refused -1 retry_later send", none, Refused, Responded, false),
            ("422 refused 40001 refresh_token send", none, Refused, Responded, false),
            ("422 refused 48001 fix_config send", none, Refused, Blocked(Block::Configuration), false),
            ("422 refused 40164 allow_ip send", none, Refused, Blocked(Block::Configuration), false),
            ("422 refused 45009 slow_down send", none, Refused, Blocked(Block::DailyQuota), true),
            ("503 not_sent 45009 slow_down token", five, NotSent, Blocked(Block::DailyQuota), true),
            ("422 refused 45011 slow_down send", none, Refused, RateLimited(MINUTE_QUOTA_DELAY), true),
            ("503 not_sent 45011 slow_down token", five, NotSent, RateLimited(after), true),
            ("503 not_sent 40125 fix_config token", five, NotSent, Blocked(Block::TokenRefused), true),
            ("503 not_sent 40164 allow_ip token", five, NotSent, Blocked(Block::TokenRefused), true),
            ("503 not_sent -1 retry_later token", five, NotSent, NotReached(after), true),
            ("503 not_sent -1000 retry_later token", five, NotSent, NotReached(after), true),
            ("503 not_sent 45102 retry_later token", none, NotSent, NotReached(zero), true),
            ("503 not_sent - retry_later token", none, NotSent, NotReached(zero), true),
            ("503 not_sent - retry_later -", five, NotSent, NotReached(after), true),
            ("503 not_sent - investigate token", none, NotSent, NotReached(zero), true),
            ("503 not_sent - fix_config send", none, NotSent, Blocked(Block::Configuration), true),
            ("503 not_sent - slow_down -", five, NotSent, RateLimited(after), true),
            ("429 not_sent - slow_down -", five, NotSent, RateLimited(after), true),
            ("401 not_sent - fix_config -", none, NotSent, Blocked(Block::Configuration), true),
            ("409 not_sent - stop grant", none, Refused, Responded, false),
            ("413 not_sent - fix_request -", none, NotSent, Responded, true),
            ("504 maybe_sent - investigate -", none, MaybeSent, NoResponse, false),
            ("422 invalid - - -", none, Usage, Responded, false),
        ] {
            let report = report(response, retry_after);
            let found = (ExitStatus::from(&report.result), report.signal(), report.can_be_continued());
            assert_eq!(found, (exit, signal, continues), "{response}");
        }
    }
}
