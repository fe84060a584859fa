//! A service without an AppSecret. Its tokens come from a control server (`wxsub serve`), its messages go directly to Weixin.
//!
//! `cargo run -p wxsub-examples --example token_from_server` sends a message, invalidates the token, and
//! sends another.

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use tokio::net::TcpListener;
use wxsub_examples::{APPID, TEMPLATE, Weixin};
use wxsub_reqwest::{
    BaseUrl, Client, ConsentRequest, ControlServer, Grant, Message, ReqwestTransport, Scene, TransportLimits,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let weixin = Weixin::start().await?;
    // In production it runs on another machine, and its key comes from your secrets.
    let (server, key) = weixin.control_server().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base: BaseUrl = format!("http://{}", listener.local_addr()?).parse()?;
    tokio::spawn(async move { server.serve(listener, None, pending()).await });

    // Weixin may take 30 s. The server closes a connection that was idle for 10 s.
    let limits = TransportLimits::default().request_timeout(Duration::from_secs(60));
    let limits = limits.pool_idle_timeout(Duration::from_secs(5));
    let transport = ReqwestTransport::builder().limits(limits).build()?;
    let server = ControlServer::new(base, key, transport.clone());
    let tokens = server.token_cache(APPID.parse()?).build();
    // Without this line, messages go to https://api.weixin.qq.com.
    let client = Client::with_token_source(tokens, transport).api_base(weixin.base.clone()).build();

    for (scene, what) in [(1, "one message"), (2, "another, although the token was invalidated in between")] {
        let scene = Scene::new(scene)?;
        weixin.user_allows("oUser", ConsentRequest::new(APPID, TEMPLATE, scene)?)?;
        let grant = Grant::assume_verified("oUser", TEMPLATE, scene)?;
        client.send(&Message::builder(grant).title("Parcel").content("It is here.").build()?).await?;
        println!("sent: {what}");
        weixin.sandbox.invalidate_tokens(&APPID.parse()?)?;
    }
    println!(
        "{} token requests at Weixin, all of the control server",
        weixin.sandbox.event_log().request_count("/cgi-bin/token")
    );
    Ok(())
}
