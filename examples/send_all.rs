//! Sends many messages, sixteen at a time, with a progress bar, and counts the outcomes.
//!
//! `cargo run -p wxsub-examples --example send_all` prints how many were sent, refused, not sent, maybe sent.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin};
use wxsub_reqwest::{Client, ConsentRequest, Delivery, Grant, Message, ReqwestTransport, Scene, SendError};

const MESSAGES: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weixin = Weixin::start().await?;
    let transport = ReqwestTransport::new()?;
    let client = Client::builder(APPID, SECRET, transport).api_base(weixin.base.clone()).build()?;

    // In production the messages come from a file or a table. Only messages in flight are read.
    let messages = stream::iter((0..MESSAGES).map_while(|number| message(&weixin, number).ok()));
    let in_flight = NonZeroUsize::new(16).ok_or("nothing in flight sends nothing")?;

    let bar = ProgressBar::new(MESSAGES as u64);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sending = std::pin::pin!(client.send_all(messages, in_flight));
    while let Some((openid, outcome)) = sending.next().await {
        if let Err(error) = &outcome {
            bar.suspend(|| println!("{openid}: {error}"));
        }
        *outcomes.entry(name(&outcome)).or_default() += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{outcomes:?}");
    Ok(())
}

/// The outcome to store with the message.
fn name(outcome: &Result<(), SendError>) -> &'static str {
    match outcome.as_ref().map_err(SendError::delivery) {
        Ok(()) => "sent",
        Err(Delivery::Rejected) => "refused",
        Err(Delivery::NotSent) => "not sent",
        // Do not repeat it blindly: it may have arrived.
        Err(Delivery::MaybeSent) => "maybe sent",
    }
}

/// The openid and the message of a user. Every hundredth user has not consented.
fn message(weixin: &Weixin, number: usize) -> Result<(String, Message), Box<dyn std::error::Error>> {
    let (openid, scene) = (format!("oUser{number}"), Scene::new(1000)?);
    if !number.is_multiple_of(100) {
        weixin.user_allows(&openid, ConsentRequest::new(APPID, TEMPLATE, scene)?)?;
    }
    let grant = Grant::assume_verified(&openid, TEMPLATE, scene)?;
    let message =
        Message::builder(grant).title("Parcel").content(format!("Number {number} is here.")).build()?;
    Ok((openid, message))
}
