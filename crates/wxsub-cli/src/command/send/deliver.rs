//! Sends one message and tells what became of it.

use std::time::Duration;

use wxsub_core::Client;
use wxsub_core::clock::{Clock, SystemClock, until};
use wxsub_core::transport::Stage as Reached;
use wxsub_proto::{Message, Role};

use crate::control_server::ControlServer;
use crate::interrupt::Interrupt;
use crate::send_error::{refusal_of, told};
use wxsub_server::result_line::{Outcome, ResultLine, Stage};

/// Who sends.
pub(super) enum Sender {
    /// This process.
    Here(Client),
    /// A control server, which may take this long.
    Server(ControlServer, Duration),
}

/// What became of a message.
pub(super) struct Delivered {
    /// For programs.
    pub(super) result: ResultLine,
    /// For people, unless it was sent.
    pub(super) why: Option<String>,
}

const GIVEN_UP: &str =
    "stopped while the message was under way; it may have been sent, do not blindly repeat it";

/// Sends it, unless the user insists on stopping.
pub(super) async fn deliver(sender: &Sender, message: &Message, interrupt: &Interrupt) -> Delivered {
    tokio::select! {
        biased;
        delivered = sender.send(message) => delivered,
        () = interrupt.insisted() => maybe_sent(message, GIVEN_UP),
    }
}

impl Sender {
    async fn send(&self, message: &Message) -> Delivered {
        match self {
            Self::Here(client) => match client.send(message).await {
                Ok(()) => Delivered { result: ResultLine::sent(message), why: None },
                Err(error) => {
                    Delivered { result: ResultLine::failed(message, &error), why: Some(told(&error)) }
                }
            },
            Self::Server(server, limit) => post(server, *limit, message).await,
        }
    }
}

/// Posts it once, whatever comes of it.
async fn post(server: &ControlServer, limit: Duration, message: &Message) -> Delivered {
    let clock = SystemClock::new();
    let deadline = clock.now().mono.after(limit);
    match until(&clock, deadline, server.ask("messages", Some(message.to_json()))).await {
        None => maybe_sent(
            message,
            "the control server did not answer in time; the message may have been sent, do not blindly repeat it",
        ),
        Some(Err(error)) if error.stage() == Reached::BeforeSending => Delivered {
            result: ResultLine::not_posted(message),
            why: Some(format!("the control server was not reached: {error}; it is safe to try again")),
        },
        Some(Err(error)) => maybe_sent(
            message,
            &format!("the control server's answer was lost: {error}; do not blindly repeat it"),
        ),
        Some(Ok(raw)) => match ResultLine::answered(message, raw.status, raw.body.as_ref()) {
            Some(result) => Delivered { why: words(&result, raw.status), result },
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

fn maybe_sent(message: &Message, why: &str) -> Delivered {
    Delivered { result: ResultLine::given_up(message), why: Some(why.to_owned()) }
}

/// What the server says, for people.
fn words(result: &ResultLine, status: u16) -> Option<String> {
    if let Some((refusal, stage)) = result.refusal() {
        return Some(match stage {
            Some(Stage::Token) => {
                format!("the message was not sent: {}", refusal_of(&refusal, Role::TokenCall))
            }
            Some(Stage::Send) | None => refusal_of(&refusal, Role::Send),
        });
    }
    let advice =
        result.remedy().map(|remedy| format!("; what to do: {}", remedy.advice())).unwrap_or_default();
    let why = match (result.outcome, status) {
        (Outcome::Sent, _) => return None,
        (Outcome::NotSent, 401) => "it does not know the key (WXSUB_KEY); nothing was sent",
        (Outcome::NotSent, 403) => "the key may not send for this app; nothing was sent",
        (Outcome::NotSent, _) => "the message was certainly not sent; it is safe to try again",
        (Outcome::Invalid, _) => "the message breaks its rules",
        (Outcome::Refused, _) => "Weixin refused the message",
        (Outcome::MaybeSent, _) => "the message may have been sent; do not blindly repeat it",
    };
    Some(format!("the control server answered {status}: {why}{advice}"))
}
