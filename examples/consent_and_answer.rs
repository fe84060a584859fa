//! Asks for consent, tells the genuine answer from a forged one, and spends the grant.
//!
//! `cargo run -p wxsub-examples --example consent_and_answer` prints the link, what becomes of two answers, and `sent`.

use std::sync::Arc;

use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin};
use wxsub_reqwest::core::consent::{InMemoryNonceStore, SigningKey, VerifiedConsent};
use wxsub_reqwest::proto::{ConsentCallback, HttpUrl, Scene};
use wxsub_reqwest::{Client, ConsentVerifier, ReqwestTransport};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weixin = Weixin::start().await?;
    // The same key on every server of yours; in real life it comes from your secrets.
    let guard = ConsentVerifier::new(APPID.parse()?, SigningKey::new(b"sixteen random bytes or more")?);
    let nonces = InMemoryNonceStore::new();
    let session = "the user's session id";

    let request = guard.issue(TEMPLATE.parse()?, Scene::new(1000)?, session)?;
    let back: HttpUrl = "https://shop.example/back".parse()?;
    println!("send the user to {}", request.web_link(&back)?);

    // Somebody calls the callback with values of their own.
    let forged: ConsentCallback =
        format!("action=confirm&openid=oVictim&template_id={TEMPLATE}&scene=1000&reserved=guess").parse()?;
    println!("forged: {}", guard.verify(&forged, session).err().ok_or("a forged answer was trusted")?);

    // The user allows it, and Weixin redirects them.
    let callback = weixin.user_allows("OPENID", request)?;
    let verified = guard.verify(&callback.parse()?, session)?;
    if !nonces.insert_if_new(&verified.nonce()) {
        return Err("this answer was used before".into());
    }
    let VerifiedConsent::Granted { grant, .. } = verified else { return Err("the user cancelled".into()) };
    println!("genuine: {} may be written to once", grant.openid());

    let transport = Arc::new(ReqwestTransport::new()?);
    let client =
        Client::builder(APPID.parse()?, SECRET.parse()?, transport).api_base(weixin.base.clone()).build();
    client.send(&grant.message("Parcel".parse()?, "It is here.".parse()?)).await?;
    println!("sent");
    Ok(())
}
