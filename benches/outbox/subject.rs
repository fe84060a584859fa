//! The messages that all contenders send, as long as real ones.

use wxsub_benches::subject;
use wxsub_core::proto::{Grant, Message};

pub(crate) const TEMPLATE: &str = "abcdefghijklmnopqrstuvwxyz_0123456789-ABCDE";
pub(crate) const SCENE: u16 = 1000;

pub(crate) fn user(number: usize) -> String {
    format!("oABCDEFGHIJKLMNOPQRST{number:07}")
}

pub(crate) fn grant(number: usize) -> Grant {
    Grant::assume_verified(user(number), TEMPLATE, SCENE).unwrap()
}

/// A message to this user.
pub(crate) fn message(number: usize) -> Message {
    let model = subject::message();
    Message::builder(grant(number))
        .title(model.title().as_str())
        .content(model.content().as_str())
        .build()
        .unwrap()
}
