//! The steps of the demo.

use wxsub_core::consent::VerifiedConsent;
use wxsub_core::proto::endpoint::{subscribe, token};
use wxsub_proto::{ConsentCallback, ErrCode, Grant, Message, OpenId};

use super::browser::{get, post};
use super::reporter::{Reporter, StepFailed, StepResult};
use super::setup::{Setup, text_err};

/// Session of the user's browser at the shop.
const SESSION: &str = "session-42";

/// Runs all steps after the setup, from the first consent URL to the second message.
pub(super) async fn run(setup: &Setup, reporter: &mut Reporter) -> Result<(), StepFailed> {
    let url = reporter.step("consent_url", setup.consent_url())?;
    let callback = reporter.step("consent", setup.allow(&url).await)?;
    reporter.step("forged_callback", setup.reject_forged(&callback))?;
    let grant = reporter.step("grant", setup.verify_consent(&callback))?;

    reporter.step("token", setup.fetch_token().await)?;
    let message = reporter.step("send", setup.send(grant.clone()).await)?;
    reporter.step("mailbox", setup.check_mailbox(&message))?;
    reporter.step("second_message", setup.send_again(grant).await)?;

    reporter.step("invalidated", setup.invalidate_token())?;
    reporter.step("refreshed", setup.send_with_refresh(message).await)?;
    reporter.step("summary", setup.summarize(reporter.steps()))
}

impl Setup {
    /// The shop creates a consent URL.
    fn consent_url(&self) -> StepResult<String> {
        let request = text_err(self.verifier.issue(self.template_id.clone(), self.scene, SESSION))?;
        let url = text_err(request.consent_url(&self.redirect_url))?.with_base_url(&self.base).to_string();
        let detail = format!("the shop asks for consent to one message, with a signed URL: {url}");
        Ok((url, detail))
    }

    /// The user opens the URL and taps Allow. Weixin redirects the user to the callback URL.
    async fn allow(&self, url: &str) -> StepResult<ConsentCallback> {
        let page = get(url).await?;
        let openid =
            page.body.split("name=\"openid\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let (200, Some(openid), true) = (page.status, openid, page.body.contains(">Allow<")) else {
            return Err(format!("the page does not ask for consent; its status is {}", page.status));
        };
        let response = post(url, &format!("openid={openid}&action=confirm")).await?;
        let callback = response.location.ok_or("the user was not redirected")?;
        if response.status != 302 || !callback.starts_with(self.redirect_url.as_str()) {
            return Err("the user was redirected to another URL".to_owned());
        }
        let callback: ConsentCallback = text_err(callback.parse())?;
        Ok((callback, "the user opened the URL and tapped Allow; Weixin redirected to the shop".to_owned()))
    }

    /// The shop rejects a callback with a made-up `reserved` value, and a genuine one from another session.
    fn reject_forged(&self, genuine: &ConsentCallback) -> StepResult<()> {
        let made_up = text_err("1000000000000000000000000000000000000000000".parse())?;
        let forged = ConsentCallback::new(
            genuine.action().clone(),
            genuine.template_id().clone(),
            genuine.scene(),
            Some(made_up),
        );
        let accepted = [
            self.verifier.verify(&forged, SESSION).is_ok(),
            self.verifier.verify(genuine, "another session").is_ok(),
        ];
        match accepted {
            [false, false] => {
                Ok(((), "a forged callback and a callback from another session were rejected".to_owned()))
            }
            _ => Err("a forged callback was accepted".to_owned()),
        }
    }

    /// The shop verifies the genuine callback.
    fn verify_consent(&self, callback: &ConsentCallback) -> StepResult<Grant> {
        match text_err(self.verifier.verify(callback, SESSION))? {
            VerifiedConsent::Granted { grant, .. } => Ok((
                grant,
                "the genuine callback was verified; the shop may send this user one message".to_owned(),
            )),
            VerifiedConsent::Declined { .. } => {
                Err("the callback says that the user cancelled, but the user allowed".to_owned())
            }
        }
    }

    async fn fetch_token(&self) -> StepResult<()> {
        let token = text_err(self.client.token_source().token().await)?;
        let (lifetime, fingerprint) = (token.lifetime().as_secs(), token.fingerprint());
        Ok(((), format!("the access token was fetched; it expires after {lifetime} s ({fingerprint})")))
    }

    async fn send(&self, grant: Grant) -> StepResult<Message> {
        let message = Message::builder(grant).title("Your parcel").content("It is here.\nCome and get it.");
        let message = text_err(message.build())?;
        text_err(self.client.send(&message).await)?;
        Ok((message, "the message was sent".to_owned()))
    }

    /// The user's mailbox has exactly this message.
    fn check_mailbox(&self, sent: &Message) -> StepResult<()> {
        let expected = text_err(serde_json::to_value(sent))?;
        let received = self.sandbox.mailbox(sent.grant().openid());
        match received.as_slice() {
            [only] if expected.as_object() == Some(&only.body) => {
                Ok(((), format!("the user received exactly this message: {:?}", sent.title().as_str())))
            }
            others => Err(format!("the user received other messages ({})", others.len())),
        }
    }

    /// One consent allows one message.
    async fn send_again(&self, grant: Grant) -> StepResult<()> {
        let message = Message::builder(grant).title("One more").content("And another thing.");
        let message = text_err(message.build())?;
        match self.client.send(&message).await.map_err(|error| error.errcode()) {
            Err(Some(ErrCode::USER_REFUSED)) => {
                Ok(((), "a second message was refused with 43101: one consent allows one message".to_owned()))
            }
            Err(other) => Err(format!("a second message failed with another error: {other:?}")),
            Ok(()) => Err("a second message was sent without consent".to_owned()),
        }
    }

    /// Another process fetches a token for the same app, which invalidates the shop's token.
    fn invalidate_token(&self) -> StepResult<()> {
        text_err(self.sandbox.invalidate_tokens(&self.appid))?;
        Ok((
            (),
            "another process fetched a token for this app, which invalidated the shop's token".to_owned(),
        ))
    }

    /// The user allows another message. The client refreshes the token and repeats the send.
    async fn send_with_refresh(&self, first: Message) -> StepResult<()> {
        let openid = first.grant().openid().clone();
        let url = self.consent_url()?.0;
        let callback = self.allow(&url).await?.0;
        let second = self.send(self.verify_consent(&callback)?.0).await?.0;
        let (fetches, posts) = self.traffic();
        match (self.received(&openid), fetches, posts) {
            (2, 2, 4) => Ok((
                (),
                "the user allowed and received another message: Weixin rejected the token, the client fetched \
                 a new one and repeated the send"
                    .to_owned(),
            )),
            (received, ..) => Err(format!(
                "{received} messages instead of 2, {fetches} fetches instead of 2, {posts} posts instead of 4 ({})",
                second.title()
            )),
        }
    }

    fn summarize(&self, steps: u32) -> StepResult<()> {
        let (fetches, posts) = self.traffic();
        Ok((
            (),
            format!(
                "all {steps} steps succeeded: 2 messages received, {posts} posts, {fetches} token fetches"
            ),
        ))
    }

    /// Number of token fetches and of posted messages.
    fn traffic(&self) -> (u64, u64) {
        let log = self.sandbox.event_log();
        (log.request_count(token::PATH), log.request_count(subscribe::PATH))
    }

    fn received(&self, openid: &OpenId) -> usize {
        self.sandbox.mailbox(openid).len()
    }
}
