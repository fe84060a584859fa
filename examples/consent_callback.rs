//! Asks for consent, verifies a forged and a genuine callback, and uses the grant.
//!
//! `cargo run -p wxsub-examples --example consent_callback` prints the consent URL, the results of both callbacks, and `sent`.

use wxsub_examples::{APPID, SECRET, TEMPLATE, Weixin, signing_key_file};
use wxsub_reqwest::{
    Client, ConsentCallback, ConsentVerifier, HttpUrl, InMemoryNonceStore, Message, NonceStore,
    ReqwestTransport, Scene, SigningKey, VerifiedConsent,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weixin = Weixin::start().await?;
    // All servers need the same key. In production, `wxsub consent key` makes its file once.
    let folder = tempfile::tempdir()?;
    let key = SigningKey::from_file(signing_key_file(folder.path())?)?;
    let guard = ConsentVerifier::new(APPID.parse()?, key);
    let nonces = InMemoryNonceStore::new();
    let session = "the user's session id";

    let request = guard.issue(TEMPLATE.parse()?, Scene::new(1000)?, session)?;
    let back: HttpUrl = "https://shop.example/back".parse()?;
    println!("send the user to {}", request.consent_url(&back)?);

    // An attacker calls the callback URL with forged values.
    let forged: ConsentCallback =
        format!("action=confirm&openid=oVictim&template_id={TEMPLATE}&scene=1000&reserved=guess").parse()?;
    println!("forged: {}", guard.verify(&forged, session).err().ok_or("a forged callback was accepted")?);

    // The user allows the message, and Weixin redirects the browser.
    let callback = weixin.user_allows("OPENID", request)?;
    let verified = guard.verify(&callback.parse()?, session)?;
    if !nonces.insert_if_new(&verified.nonce()).await? {
        return Err("this callback was used before".into());
    }
    let VerifiedConsent::Granted { grant, .. } = verified else { return Err("the user cancelled".into()) };
    println!("genuine: one message to {} is allowed", grant.openid());

    let transport = ReqwestTransport::new()?;
    let client = Client::builder(APPID, SECRET, transport).api_base(weixin.base.clone()).build()?;
    client.send(&Message::builder(grant).title("Parcel").content("It is here.").build()?).await?;
    println!("sent");
    Ok(())
}
