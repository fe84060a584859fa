//! Sends one message.
//!
//! `cargo run -p wxsub-examples --example send_one` prints `sent`.

use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin};
use wxsub_reqwest::{Client, ConsentRequest, Grant, Message, ReqwestTransport};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weixin = Weixin::start().await?;
    weixin.user_allows("OPENID", ConsentRequest::new(APPID, TEMPLATE, 1000)?)?;

    // In production this is one call: `wxsub_reqwest::client(appid, secret)`.
    let transport = ReqwestTransport::new()?;
    let client = Client::builder(APPID, SECRET, transport).api_base(weixin.base.clone()).build()?;

    // The grant that was stored when the user consented.
    let grant = Grant::assume_verified("OPENID", TEMPLATE, 1000)?;
    let message = Message::builder(grant)
        .title("Parcel")
        .content("It is here.\nCome and get it.")
        .color("#07C160")
        .build()?;
    client.send(&message).await?;
    println!("sent");
    Ok(())
}
