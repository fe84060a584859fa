//! What the programs have in common: the message of an order.

use std::error::Error;

use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::proto::{AppId, Grant, Message};
use wxsub_outbox::OutboxMessage;
use wxsub_outbox::id::{IdGenerator, MessageId};

/// The id of a message, its app, and the message.
///
/// # Errors
/// If the operating system has no random numbers.
pub fn message() -> Result<(MessageId, AppId, OutboxMessage), Box<dyn Error>> {
    let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
    let message = Message::builder(grant).title("Parcel").content("It is here.").build()?;
    let id = IdGenerator::new(None).message(SystemClock::new().now().wall)?;
    Ok((id, "wx0123456789abcdef".parse()?, OutboxMessage::new(message)))
}
