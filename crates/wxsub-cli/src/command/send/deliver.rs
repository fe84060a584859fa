//! Sends one message and reports what became of it.

use std::time::Duration;

use wxsub_core::Client;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::transport::RequestState as Reached;
use wxsub_proto::{ErrCode, Message, Operation, Remedy};

use super::flow::{Block, Signal};
use crate::control_server::ControlServer;
use crate::describe::{describe_send_error, refusal_of};
use crate::interrupt::Interrupt;
use wxsub_server::send_result::{SendResult, SendStatus};

/// Where messages are posted.
pub(super) enum Sender {
    /// At Weixin, by this process.
    Direct(Client),
    /// At a control server, which may take this long.
    ControlServer(ControlServer, Duration),
}

/// What became of a message.
pub(super) struct SendReport {
    /// For programs.
    pub(super) result: SendResult,
    /// For people, unless it was sent.
    pub(super) why: Option<String>,
    /// How long to wait before the next try, where that is known.
    pub(super) retry_after: Option<Duration>,
}

const GIVEN_UP: &str =
    "stopped while the control server had the message; it may have been sent, do not blindly repeat it";

/// Sends it, unless the user insists on stopping.
pub(super) async fn deliver(sender: &Sender, message: &Message, interrupt: &Interrupt) -> SendReport {
    match sender {
        Sender::Direct(client) => match client.send_until(message, interrupt.forced()).await {
            Ok(()) => SendReport::new(SendResult::sent(message), None),
            Err(error) => SendReport {
                // Until the attempt that was planned has ended, the token source repeats this failure.
                retry_after: error.retry_after().map(|wait| wait + ATTEMPT),
                ..SendReport::new(SendResult::failed(message, &error), Some(describe_send_error(&error)))
            },
        },
        Sender::ControlServer(server, limit) => tokio::select! {
            biased;
            report = post(server, *limit, message) => report,
            () = interrupt.forced() => maybe_sent(message, GIVEN_UP),
        },
    }
}

/// How long an attempt to get a token takes where something answers.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How long to wait where Weixin says only that there were too many calls within this minute.
const MINUTE: Duration = Duration::from_secs(60);

impl SendReport {
    /// Without a time to wait.
    pub(super) fn new(result: SendResult, why: Option<String>) -> Self {
        Self { result, why, retry_after: None }
    }

    /// What the end of this attempt says about the lines that follow.
    pub(super) fn signal(&self) -> Signal {
        let (errcode, stage) = match self.result.refusal() {
            Some((refusal, stage)) => (Some(refusal.errcode()), stage),
            None => (None, None),
        };
        match (self.result.outcome, errcode, self.result.remedy()) {
            (SendStatus::Sent | SendStatus::Invalid, ..) => Signal::Answered,
            (SendStatus::MaybeSent, ..) => Signal::NoAnswer,
            (_, Some(ErrCode::DAILY_QUOTA), _) => Signal::Blocked(Block::DailyQuota),
            (_, Some(ErrCode::MINUTE_QUOTA), _) => Signal::RateLimited(self.retry_after.unwrap_or(MINUTE)),
            (_, Some(code), _)
                if stage == Some(Operation::FetchToken) && !code.is_transient_on_token_call() =>
            {
                Signal::Blocked(Block::TokenRefused)
            }
            (_, _, Some(Remedy::FixConfig | Remedy::AllowIp)) => Signal::Blocked(Block::Configuration),
            (SendStatus::Refused, ..) => Signal::Answered,
            (SendStatus::NotSent, _, Some(Remedy::SlowDown)) => {
                Signal::RateLimited(self.retry_after.unwrap_or(MINUTE))
            }
            // The request itself is wrong, so the same answer would come again.
            (SendStatus::NotSent, _, Some(Remedy::FixRequest)) => Signal::Answered,
            (SendStatus::NotSent, ..) => Signal::NotReached(self.retry_after.unwrap_or_default()),
        }
    }

    /// Whether the message can be sent later as it is: it was not sent, or Weixin refused it over a quota.
    pub(super) fn may_go_on(&self) -> bool {
        let errcode = self.result.refusal().map(|(refusal, _)| refusal.errcode());
        let met_quota = matches!(errcode, Some(ErrCode::DAILY_QUOTA | ErrCode::MINUTE_QUOTA));
        match self.result.outcome {
            SendStatus::NotSent => true,
            SendStatus::Refused => met_quota,
            SendStatus::Sent | SendStatus::Invalid | SendStatus::MaybeSent => false,
        }
    }
}

/// Posts it once, whatever comes of it.
async fn post(server: &ControlServer, limit: Duration, message: &Message) -> SendReport {
    let clock = SystemClock::new();
    let deadline = clock.now().mono.after(limit);
    match timeout_at(&clock, deadline, server.ask("messages", Some(message.to_json()))).await {
        None => maybe_sent(
            message,
            "the control server did not answer in time; the message may have been sent, do not blindly repeat it",
        ),
        Some(Err(error)) if error.stage() == Reached::NotSent => SendReport::new(
            SendResult::not_sent(message),
            Some(format!("the control server was not reached: {error}; it is safe to try again")),
        ),
        Some(Err(error)) => maybe_sent(
            message,
            &format!("the control server's answer was lost: {error}; do not blindly repeat it"),
        ),
        Some(Ok(raw)) => match SendResult::from_response(message, raw.status, raw.body.as_ref()) {
            Some(result) => {
                let why = describe(&result, raw.status);
                SendReport { retry_after: raw.retry_after, ..SendReport::new(result, why) }
            }
            None => maybe_sent(
                message,
                &format!(
                    "the answer ({}) cannot be read as a control server's; the message may have been sent, do not \
                     blindly repeat it",
                    raw.status
                ),
            ),
        },
    }
}

fn maybe_sent(message: &Message, why: &str) -> SendReport {
    SendReport::new(SendResult::given_up(message), Some(why.to_owned()))
}

/// What the server answered, for people.
fn describe(result: &SendResult, status: u16) -> Option<String> {
    if let Some((refusal, stage)) = result.refusal() {
        return Some(match stage {
            Some(Operation::FetchToken) => {
                format!("the message was not sent: {}", refusal_of(&refusal, Operation::FetchToken))
            }
            Some(Operation::Send) | None => refusal_of(&refusal, Operation::Send),
        });
    }
    let advice =
        result.remedy().map(|remedy| format!("; what to do: {}", remedy.advice())).unwrap_or_default();
    let why = match (result.outcome, status) {
        (SendStatus::Sent, _) => return None,
        (SendStatus::NotSent, 401) => "it does not know the key (WXSUB_KEY); nothing was sent",
        (SendStatus::NotSent, 403) => "the key may not send for this app; nothing was sent",
        (SendStatus::NotSent, _) => "the message was certainly not sent; it is safe to try again",
        (SendStatus::Invalid, _) => "the message breaks its rules",
        (SendStatus::Refused, _) => "Weixin refused the message",
        (SendStatus::MaybeSent, _) => "the message may have been sent; do not blindly repeat it",
    };
    Some(format!("the control server answered {status}: {why}{advice}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A control server's answer: status, outcome, errcode, remedy and stage, `-` for none, and its `Retry-After`.
    fn report(answer: &str, retry_after: Option<Duration>) -> SendReport {
        let message: Message = serde_json::from_str(
            r#"{"touser":"o","template_id":"T","scene":"1","title":"t","data":{"content":{"value":"v"}}}"#,
        )
        .unwrap();
        let words: Vec<_> = answer.split(' ').map(|word| Some(word).filter(|word| *word != "-")).collect();
        let [status, outcome, errcode, remedy, stage] = words[..] else { panic!("{answer}") };
        let errcode: Option<i64> = errcode.map(|errcode| errcode.parse().unwrap());
        let body =
            json!({"outcome": outcome, "errcode": errcode, "remedy": remedy, "stage": stage}).to_string();
        let result =
            SendResult::from_response(&message, status.unwrap().parse().unwrap(), body.as_bytes()).unwrap();
        SendReport { retry_after, ..SendReport::new(result, None) }
    }

    /// What the end of an attempt says about the lines that follow, and whether a later command goes on with the line.
    #[test]
    fn each_end_has_its_signal() {
        use Signal::{Answered, Blocked, NoAnswer, NotReached, RateLimited};
        let (none, five, zero) = (None, Some(Duration::from_secs(5)), Duration::ZERO);
        let after = Duration::from_secs(5);
        for (answer, retry_after, signal, goes_on) in [
            ("200 sent - - -", none, Answered, false),
            ("422 refused 43101 stop send", none, Answered, false),
            ("422 refused -1 retry_later send", none, Answered, false),
            ("422 refused 40001 refresh_token send", none, Answered, false),
            ("422 refused 48001 fix_config send", none, Blocked(Block::Configuration), false),
            ("422 refused 40164 allow_ip send", none, Blocked(Block::Configuration), false),
            ("422 refused 45009 slow_down send", none, Blocked(Block::DailyQuota), true),
            ("503 not_sent 45009 slow_down token", five, Blocked(Block::DailyQuota), true),
            ("422 refused 45011 slow_down send", none, RateLimited(MINUTE), true),
            ("503 not_sent 45011 slow_down token", five, RateLimited(after), true),
            ("503 not_sent 40125 fix_config token", five, Blocked(Block::TokenRefused), true),
            ("503 not_sent 40164 allow_ip token", five, Blocked(Block::TokenRefused), true),
            ("503 not_sent -1 retry_later token", five, NotReached(after), true),
            ("503 not_sent - retry_later token", none, NotReached(zero), true),
            ("503 not_sent - retry_later -", five, NotReached(after), true),
            ("503 not_sent - investigate token", none, NotReached(zero), true),
            ("503 not_sent - fix_config send", none, Blocked(Block::Configuration), true),
            ("503 not_sent - slow_down -", five, RateLimited(after), true),
            ("429 not_sent - slow_down -", five, RateLimited(after), true),
            ("401 not_sent - fix_config -", none, Blocked(Block::Configuration), true),
            ("413 not_sent - fix_request -", none, Answered, true),
            ("504 maybe_sent - investigate -", none, NoAnswer, false),
            ("422 invalid - - -", none, Answered, false),
        ] {
            let report = report(answer, retry_after);
            assert_eq!((report.signal(), report.may_go_on()), (signal, goes_on), "{answer}");
        }
    }
}
