//! The story itself.

use wxsub_core::consent::VerifiedConsent;
use wxsub_core::proto::endpoint::{subscribe, token};
use wxsub_proto::{ConsentCallback, ErrCode, Grant, Message, OpenId};

use super::browser::{open, submit};
use super::reporter::{Failed, Outcome, Teller};
use super::setup::{Stage, read};

/// Who the user's browser belongs to, as the shop knows it.
const SESSION: &str = "session-42";

/// From the first question to the second message.
pub(super) async fn play(stage: &Stage, teller: &mut Teller) -> Result<(), Failed> {
    let link = teller.step("link", stage.ask())?;
    let answer = teller.step("consent", stage.allow(&link).await)?;
    teller.step("forgery", stage.forge(&answer))?;
    let grant = teller.step("grant", stage.verify_consent(&answer))?;

    teller.step("token", stage.fetch().await)?;
    let message = teller.step("send", stage.send(grant.clone()).await)?;
    teller.step("mailbox", stage.look(&message))?;
    teller.step("spent", stage.send_again(grant).await)?;

    teller.step("theft", stage.invalidate_token())?;
    teller.step("heal", stage.send_with_refresh(message).await)?;
    teller.step("summary", stage.sum_up(teller.told()))
}

impl Stage {
    /// The app asks.
    fn ask(&self) -> Outcome<String> {
        let request = read(self.guard.issue(self.template_id.clone(), self.scene, SESSION))?;
        let link = read(request.web_link(&self.back))?.with_base_url(&self.base).to_string();
        let told = format!(
            "the shop asks whether it may send one message, with a link that carries a proof: {link}"
        );
        Ok((link, told))
    }

    /// The user opens the link, taps Allow and is sent back with the answer.
    async fn allow(&self, link: &str) -> Outcome<ConsentCallback> {
        let page = open(link).await?;
        let openid =
            page.body.split("name=\"openid\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let (200, Some(openid), true) = (page.status, openid, page.body.contains(">Allow<")) else {
            return Err(format!("the page does not ask the user; its status is {}", page.status));
        };
        let sent_back = submit(link, &format!("openid={openid}&action=confirm")).await?;
        let callback = sent_back.location.ok_or("the user was not sent back")?;
        if sent_back.status != 302 || !callback.starts_with(self.back.as_str()) {
            return Err("the user was sent to another place".to_owned());
        }
        let answer: ConsentCallback = read(callback.parse())?;
        Ok((
            answer,
            "the user opened the link, tapped Allow, and came back to the shop with an answer".to_owned(),
        ))
    }

    /// Somebody else tries.
    fn forge(&self, genuine: &ConsentCallback) -> Outcome<()> {
        let made_up = read("1000000000000000000000000000000000000000000".parse())?;
        let forged = ConsentCallback::new(
            genuine.action().clone(),
            genuine.template_id().clone(),
            genuine.scene(),
            Some(made_up),
        );
        let trusted = [
            self.guard.verify(&forged, SESSION).is_ok(),
            self.guard.verify(genuine, "somebody else's session").is_ok(),
        ];
        match trusted {
            [false, false] => Ok((
                (),
                "an answer with a made-up proof was refused, and so was this one from another browser"
                    .to_owned(),
            )),
            _ => Err("a forged answer was believed".to_owned()),
        }
    }

    /// The genuine answer is believed.
    fn verify_consent(&self, answer: &ConsentCallback) -> Outcome<Grant> {
        match read(self.guard.verify(answer, SESSION))? {
            VerifiedConsent::Granted { grant, .. } => Ok((
                grant,
                "the genuine answer was verified: the shop may send this user one message".to_owned(),
            )),
            VerifiedConsent::Declined { .. } => Err("the user is said to have cancelled".to_owned()),
        }
    }

    async fn fetch(&self) -> Outcome<()> {
        let issued = read(self.client.token_source().token().await)?;
        let (life, fingerprint) = (issued.lifetime().as_secs(), issued.fingerprint());
        Ok((
            (),
            format!("the access token that every call needs was fetched; it lives {life} s ({fingerprint})"),
        ))
    }

    async fn send(&self, grant: Grant) -> Outcome<Message> {
        let message =
            grant.message(read("Your parcel".parse())?, read("It is here.\nCome and get it.".parse())?);
        read(self.client.send(&message).await)?;
        Ok((message, "the message was sent".to_owned()))
    }

    /// The user looks at their phone.
    fn look(&self, sent: &Message) -> Outcome<()> {
        let expected = read(serde_json::to_value(sent))?;
        let received = self.sandbox.mailbox(sent.grant().openid());
        match received.as_slice() {
            [only] if expected.as_object() == Some(&only.body) => Ok((
                (),
                format!("the user's phone shows exactly that one message: {:?}", sent.title().as_str()),
            )),
            others => Err(format!("the user's phone shows something else ({} messages)", others.len())),
        }
    }

    /// One consent, one message.
    async fn send_again(&self, grant: Grant) -> Outcome<()> {
        let message = grant.message(read("One more".parse())?, read("And another thing.".parse())?);
        match self.client.send(&message).await.map_err(|error| error.errcode()) {
            Err(Some(ErrCode::USER_REFUSED)) => Ok((
                (),
                "a second message was refused with 43101: one consent is good for one message".to_owned(),
            )),
            Err(other) => Err(format!("a second message was refused otherwise: {other:?}")),
            Ok(()) => Err("a second message was sent without a consent".to_owned()),
        }
    }

    /// Somebody else fetches a token for the same app.
    fn invalidate_token(&self) -> Outcome<()> {
        read(self.sandbox.invalidate_tokens(&self.appid))?;
        Ok(((), "a stranger fetched a token for the same app, so the shop's token is dead, and the shop does not know".to_owned()))
    }

    /// The shop asks again and sends again, and does not notice.
    async fn send_with_refresh(&self, first: Message) -> Outcome<()> {
        let openid = first.grant().openid().clone();
        let link = self.ask()?.0;
        let answer = self.allow(&link).await?.0;
        let second = self.send(self.verify_consent(&answer)?.0).await?.0;
        let (fetches, posts) = self.traffic();
        match (self.received(&openid), fetches, posts) {
            (2, 2, 4) => Ok((
                (),
                "the user allowed another message and got it: Weixin called the token stale, one other was fetched, \
                 the message was posted again, and the shop saw no error"
                    .to_owned(),
            )),
            (received, ..) => Err(format!(
                "{received} messages instead of 2, {fetches} fetches instead of 2, {posts} posts instead of 4 ({})",
                second.title()
            )),
        }
    }

    fn sum_up(&self, told: u32) -> Outcome<()> {
        let (fetches, posts) = self.traffic();
        Ok(((), format!("all {told} steps hold: 2 messages arrived, in {posts} posts with {fetches} tokens")))
    }

    /// How many tokens were asked for, and how many messages were posted.
    fn traffic(&self) -> (u64, u64) {
        let log = self.sandbox.event_log();
        (log.request_count(token::PATH), log.request_count(subscribe::PATH))
    }

    fn received(&self, openid: &OpenId) -> usize {
        self.sandbox.mailbox(openid).len()
    }
}
