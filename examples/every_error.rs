//! How a send can fail, and what to ask the error.
//!
//! `cargo run -p wxsub-examples --example every_error` prints one line for each outcome of a send.

use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin};
use wxsub_reqwest::proto::endpoint::{subscribe, token};
use wxsub_reqwest::{
    Client, ConsentRequest, Delivery, ErrCode, Grant, Message, Remedy, ReqwestTransport, SendError,
};
use wxsub_sandbox::Fault;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (what, path, fault) in [
        ("all is well", subscribe::PATH, None),
        ("the grant is spent", subscribe::PATH, Some(Fault::ErrCode(ErrCode::USER_REFUSED))),
        ("too many this minute", subscribe::PATH, Some(Fault::ErrCode(ErrCode::MINUTE_QUOTA))),
        ("the response is lost", subscribe::PATH, Some(Fault::ResetAfterApply)),
        ("a captive portal responds", subscribe::PATH, Some(Fault::Html)),
        ("the secret is wrong", token::PATH, Some(Fault::ErrCode(ErrCode::INVALID_APPSECRET))),
    ] {
        let weixin = Weixin::start().await?;
        if let Some(fault) = fault {
            weixin.sandbox.add_fault(path, 1, fault);
        }
        weixin.user_allows("OPENID", ConsentRequest::new(APPID, TEMPLATE, 7)?)?;
        let transport = ReqwestTransport::new()?;
        let client = Client::builder(APPID, SECRET, transport).api_base(weixin.base.clone()).build()?;
        println!("{what}: {}", what_to_do(&client, &message()?).await);
    }
    Ok(())
}

fn message() -> Result<Message, Box<dyn std::error::Error>> {
    let grant = Grant::assume_verified("OPENID", TEMPLATE, 7)?;
    Ok(Message::builder(grant).title("Parcel").content("It is here.").build()?)
}

async fn what_to_do(client: &Client, message: &Message) -> String {
    match client.send(message).await {
        Ok(()) => "sent".to_owned(),
        Err(error) => decide(&error),
    }
}

/// Three questions: did it arrive, what is the remedy, may it be repeated?
fn decide(error: &SendError) -> String {
    let rid = error.trace_id().map(|id| format!(" (rid {id})")).unwrap_or_default();
    match (error.delivery(), error.remedy()) {
        (Delivery::MaybeSent, _) => "outcome unknown; do not repeat it, or ask the user".to_owned(),
        (_, Remedy::Stop) => format!("delete this grant{rid}"),
        (_, Remedy::FixConfig | Remedy::AllowIp) => format!("alert an operator: {error}"),
        _ if error.is_retryable() => format!("put it back into the queue{rid}"),
        _ => format!("log it and look: {error}"),
    }
}
