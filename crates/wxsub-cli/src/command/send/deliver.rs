//! Sends one message and tells what became of it.

use wxsub_core::Client;
use wxsub_proto::Message;

use crate::interrupt::Interrupt;
use crate::send_error::told;
use wxsub_server::result_line::ResultLine;

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
pub(super) async fn deliver(client: &Client, message: &Message, interrupt: &Interrupt) -> Delivered {
    let sent = tokio::select! {
        biased;
        sent = client.send(message) => sent,
        () = interrupt.insisted() => {
            return Delivered { result: ResultLine::given_up(message), why: Some(GIVEN_UP.to_owned()) };
        }
    };
    match sent {
        Ok(()) => Delivered { result: ResultLine::sent(message), why: None },
        Err(error) => Delivered { result: ResultLine::failed(message, &error), why: Some(told(&error)) },
    }
}
