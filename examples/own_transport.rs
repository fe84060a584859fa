//! An own transport: it prints how long each exchange took, and delegates to another transport.
//!
//! `cargo run -p wxsub-examples --example own_transport` prints a line for the token and a line for the message.

use bytes::Bytes;

use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin};
use wxsub_reqwest::{
    Client, Clock, ConsentRequest, Grant, HttpRequest, Message, RawResponse, ReqwestTransport, SystemClock,
    Transport, TransportError,
};

/// A `Transport` that measures another one.
struct Timed<T>(T, SystemClock);

#[async_trait::async_trait]
impl<T: Transport> Transport for Timed<T> {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        // `Debug` of a request shows method, host and path, but neither query nor body, which hold secrets.
        let what = format!("{request:?}");
        let started = self.1.now().mono;
        let outcome = self.0.execute(request).await;
        println!(
            "{what}: {} in {:?}",
            if outcome.is_ok() { "responded" } else { "failed" },
            self.1.now().mono.duration_since(started)
        );
        outcome
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weixin = Weixin::start().await?;
    weixin.user_allows("OPENID", ConsentRequest::new(APPID, TEMPLATE, 7)?)?;
    let transport = Timed(ReqwestTransport::new()?, SystemClock::new());
    let client = Client::builder(APPID, SECRET, transport).api_base(weixin.base.clone()).build()?;
    let grant = Grant::assume_verified("OPENID", TEMPLATE, 7)?;
    client.send(&Message::builder(grant).title("Parcel").content("It is here.").build()?).await?;
    Ok(())
}
