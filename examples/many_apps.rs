//! Several apps in one process. They share one transport with its connections. Each app has one client, which is cloned where it
//! is needed. A problem of one app does not affect the others.
//!
//! `cargo run -p wxsub-examples --example many_apps` prints the outcomes of a hundred messages of each app, and that each token
//! was fetched once.

use std::collections::HashMap;

use tokio::task::JoinSet;
use wxsub_examples::{TEMPLATE, Weixin};
use wxsub_reqwest::{AppId, AppSecret, Client, ConsentRequest, Grant, Message, ReqwestTransport, Scene};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weixin = Weixin::start().await?;
    let transport = ReqwestTransport::new()?;
    let mut clients: HashMap<AppId, Client> = HashMap::new();
    for (appid, known, configured) in
        [("wxShop", "one", "one"), ("wxBank", "two", "two"), ("wxMistake", "three", "not-its-secret")]
    {
        let appid: AppId = appid.parse()?;
        weixin.sandbox.add_app(appid.clone(), known.parse()?, [TEMPLATE.parse()?]);
        let secret: AppSecret = configured.parse()?;
        let client = Client::builder(appid.clone(), secret, transport.clone())
            .api_base(weixin.base.clone())
            .build()?;
        clients.insert(appid, client);
    }

    for (appid, client) in &clients {
        let mut sending = JoinSet::new();
        for number in 0..100 {
            let (openid, scene) = (format!("oUser{number}"), Scene::new(1000)?);
            weixin.user_allows(&openid, ConsentRequest::new(appid.clone(), TEMPLATE, scene)?)?;
            let grant = Grant::assume_verified(openid, TEMPLATE, scene)?;
            let message = Message::builder(grant).title("News").content("Something happened.").build()?;
            // A clone is the same client: one token, one pool of connections.
            let client = client.clone();
            sending.spawn(async move { client.send(&message).await.map_err(|error| error.to_string()) });
        }
        let outcomes = sending.join_all().await;
        let sent = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let error = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
        println!(
            "{appid}: {sent} sent{}",
            error.map_or(String::new(), |error| format!("; the others: {error}"))
        );
    }
    println!("{} token requests in all", weixin.sandbox.event_log().request_count("/cgi-bin/token"));
    Ok(())
}
