//! `wxsub demo`: the whole flow, with a sandbox inside this process, a ledger in a temporary folder and real HTTP.

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::consent::{SigningKey, VerifiedConsent};
use wxsub_core::proto::endpoint::{subscribe, token};
use wxsub_core::token::TokenEndpoint;
use wxsub_core::{Client, ConsentVerifier};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_outbox::grant::Consent;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{App, Outbox, OutboxMessage, Receipt};
use wxsub_proto::redact::sanitize_line;
use wxsub_proto::{
    AppId, AppSecret, BaseUrl, ConsentCallback, ErrCode, Grant, HttpUrl, LocalizedText, Message, OpenId,
    Scene, TemplateId,
};
use wxsub_sandbox::{Sandbox, http};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::interrupt::Interrupt;
use crate::language::{localized, shown};
use crate::output::Output;

/// Run the whole flow with a built-in sandbox; needs no AppID and no network.
///
/// Every step is checked. Exits with 0 only if all steps succeed.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Print one JSON object per step
    #[arg(long)]
    json: bool,
}

const BEFORE: LocalizedText = LocalizedText::new(
    "\
A Weixin user may allow an app to send ONE message. For the next message the app has to ask again.
This demo runs that flow with a sandbox inside this process. No traffic leaves this machine.",
    "\
微信用户每授权一次，应用只能发送一条消息；要再发送，必须重新请求授权。
本演示用进程内的沙箱走完整个流程，不访问外部网络。",
);

const AFTER: LocalizedText = LocalizedText::new(
    "\
To try it yourself, run `wxsub sandbox`, then `wxsub consent url`, `wxsub consent verify` and `wxsub send`.
To try it over HTTP, from any language, run `wxsub serve --sandbox`; docs/curl.md explains it.",
    "\
自己动手：运行 `wxsub sandbox`，再依次运行 `wxsub consent url`、`wxsub consent verify` 和 `wxsub send`。
用任何语言通过 HTTP 调用：运行 `wxsub serve --sandbox`；说明见 docs/curl.md。",
);

impl Demo {
    /// Runs the command. The caller drops the folder of the ledger after the last task that uses it.
    pub(crate) async fn run(self, folder: &mut Option<TempDir>) -> Result<ExitStatus, CliError> {
        // A signal must not leave the folder behind.
        let interrupt = Interrupt::listen_with_hangup(None)?;
        tokio::select! {
            biased;
            () = interrupt.requested() => {
                Err(CliError::unexpected(localized!("the demo was stopped", "演示已停止")))
            }
            ended = self.run_all(folder) => ended,
        }
    }

    async fn run_all(self, folder: &mut Option<TempDir>) -> Result<ExitStatus, CliError> {
        if !self.json {
            shown(&BEFORE).lines().for_each(console::note);
        }
        let mut reporter = Reporter { output: Output::new(), json: self.json, steps: 0 };
        let result = match reporter.step("sandbox", Setup::start(folder).await) {
            Ok(setup) => run_steps(&setup, &mut reporter).await,
            Err(failed) => Err(failed),
        };
        if result.is_err() {
            return Err(CliError::unexpected(localized!(
                "a step of the demo failed, which is a bug; please report it",
                "演示的一个步骤失败，这是程序缺陷；请报告该问题"
            )));
        }
        if !self.json {
            shown(&AFTER).lines().for_each(console::note);
        }
        Ok(reporter.output.end(ExitStatus::Success))
    }
}

/// The sandbox and the app of the demo.
struct Setup {
    /// The sandbox.
    sandbox: Sandbox,
    /// Base URL of the sandbox.
    base: BaseUrl,
    /// The app.
    appid: AppId,
    /// Template of the app.
    template_id: TemplateId,
    /// Scene of the consent.
    scene: Scene,
    /// Callback URL of the app.
    redirect_url: HttpUrl,
    /// Fetches the tokens of the app.
    client: Client,
    /// Records the consents and messages of the app. Its worker sends them.
    outbox: Outbox,
    /// Issues consent requests and verifies callbacks.
    verifier: ConsentVerifier,
}

impl Setup {
    /// Starts the sandbox and the worker, which run until the process ends, and creates the app.
    async fn start(folder: &mut Option<TempDir>) -> StepResult<Self> {
        let appid: AppId = "wx0123456789abcdef".parse()?;
        let secret: AppSecret = "play-money-0123456789abcdef".parse()?;
        let template_id: TemplateId = "7YuTL__ilzyZB9DXcDt2mHx".parse()?;
        let key = SigningKey::new(b"a key for a demo, not for the world")?;
        let sandbox = Sandbox::new();
        sandbox.add_app(appid.clone(), secret.clone(), [template_id.clone()]);

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = BaseUrl::new(&format!("http://{}", listener.local_addr()?))?;
        tokio::spawn(http::serve(listener, sandbox.clone(), pending()));

        let transport = HyperTransport::builder().roots(Roots::Bundled).build()?;
        let client = Client::builder(appid.clone(), secret, transport)
            .api_base(base.clone())
            .token_cache(|cache| cache.endpoint(TokenEndpoint::Token));
        let client = client.build()?;
        let folder = folder.insert(tempfile::tempdir()?);
        let ledger = SqliteLedger::open(folder.path().join("ledger.db"), SqliteOptions::new()).await?;
        let outbox = Outbox::builder(ledger).app(App::new(appid.clone(), client.clone())).build();
        let worker = outbox.clone();
        tokio::spawn(async move { worker.run(pending()).await });
        let verifier = ConsentVerifier::new(appid.clone(), key);
        let scene = Scene::new(1000)?;
        let redirect_url = "https://shop.example/back?order=7".parse()?;
        let detail = localized!(
            "the sandbox runs inside this process at {base}; a ledger is in a temporary folder",
            "沙箱在本进程内运行，地址 {base}；消息库在临时目录中"
        );
        let setup = Self { sandbox, base, appid, template_id, scene, redirect_url, client, outbox, verifier };
        Ok((setup, detail))
    }
}

/// How long the demo waits for the end of a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Session of the user's browser at the shop.
const SESSION: &str = "session-42";

/// The idempotency key of the first message: the number of the order.
const FIRST_KEY: &str = "order-7";

/// Runs all steps after the setup, from the first consent URL to the second message.
async fn run_steps(setup: &Setup, reporter: &mut Reporter) -> Result<(), StepFailed> {
    let url = reporter.step("consent_url", setup.consent_url())?;
    let callback = reporter.step("consent", setup.allow(&url).await)?;
    reporter.step("forged_callback", setup.reject_forged(&callback))?;
    let grant = reporter.step("grant", setup.record_grant(&callback).await)?;

    reporter.step("token", setup.fetch_token().await)?;
    let (message, queued) = reporter.step("queue", setup.enqueue_parcel(grant.clone(), FIRST_KEY).await)?;
    reporter.step("send", setup.check_sent(&queued).await)?;
    reporter.step("mailbox", setup.check_mailbox(&message))?;
    reporter.step("repeated", setup.repeat(&message, &queued).await)?;
    reporter.step("second_message", setup.send_again(grant).await)?;

    reporter.step("invalidated", setup.invalidate_token())?;
    reporter.step("refreshed", setup.send_with_refresh(message).await)?;
    reporter.step("summary", setup.summarize(reporter.steps))
}

impl Setup {
    /// The shop creates a consent URL.
    fn consent_url(&self) -> StepResult<String> {
        let request = self.verifier.issue(self.template_id.clone(), self.scene, SESSION)?;
        let url = request.consent_url(&self.redirect_url)?.with_base_url(&self.base).to_string();
        let detail = localized!(
            "the shop asks for consent to one message, with a signed URL: {url}",
            "商家用签名的 URL 请求发送一条消息的授权：{url}"
        );
        Ok((url, detail))
    }

    /// The user opens the URL and taps Allow. Weixin redirects the user to the callback URL.
    async fn allow(&self, url: &str) -> StepResult<ConsentCallback> {
        let page = browse(url, None).await?;
        let openid = page.body().split("name=\"openid\" value=\"").nth(1);
        let openid = openid.and_then(|rest| rest.split('"').next());
        let (StatusCode::OK, Some(openid), true) = (page.status(), openid, page.body().contains(">Allow<"))
        else {
            return Err(format!("the page does not ask for consent; its status is {}", page.status()).into());
        };
        let response = browse(url, Some(format!("openid={openid}&action=confirm"))).await?;
        let callback = response.headers().get(LOCATION).ok_or("the user was not redirected")?.to_str()?;
        if response.status() != StatusCode::FOUND || !callback.starts_with(self.redirect_url.as_str()) {
            return Err("the user was redirected to another URL".into());
        }
        let callback: ConsentCallback = callback.parse()?;
        let detail = localized!(
            "the user opened the URL and tapped Allow; Weixin redirected to the shop",
            "用户打开 URL 并点击“允许”；微信跳转回商家"
        );
        Ok((callback, detail))
    }

    /// The shop rejects a callback with a made-up `reserved` value, and a genuine one from another session.
    fn reject_forged(&self, genuine: &ConsentCallback) -> StepResult<()> {
        let made_up = "1000000000000000000000000000000000000000000".parse()?;
        let forged = ConsentCallback { reserved: Some(made_up), ..genuine.clone() };
        let accepted = [
            self.verifier.verify(&forged, SESSION).is_ok(),
            self.verifier.verify(genuine, "another session").is_ok(),
        ];
        match accepted {
            [false, false] => done(localized!(
                "a forged callback and a callback from another session were rejected",
                "伪造的回调和另一个会话的回调都被拒绝"
            )),
            _ => Err("a forged callback was accepted".into()),
        }
    }

    /// The shop verifies the genuine callback and records the grant.
    async fn record_grant(&self, callback: &ConsentCallback) -> StepResult<Grant> {
        let verified = self.verifier.verify(callback, SESSION)?;
        let recorded = self.outbox.record_consent(&verified).await?;
        match (verified, recorded) {
            (VerifiedConsent::Granted { grant, .. }, Some(Consent::Recorded(_))) => Ok((
                grant,
                localized!(
                    "the genuine callback was verified and recorded; the shop may send this user one message",
                    "真实的回调通过校验并已登记；商家可以向该用户发送一条消息"
                ),
            )),
            (_, other) => Err(format!("the callback made no grant: {other:?}").into()),
        }
    }

    async fn fetch_token(&self) -> StepResult<()> {
        let token = self.client.token_source().token().await?;
        let (lifetime, fingerprint) = (token.lifetime().as_secs(), token.fingerprint());
        done(localized!(
            "the access token was fetched; it expires after {lifetime} s ({fingerprint})",
            "已获取 access_token，有效期 {lifetime} 秒（{fingerprint}）"
        ))
    }

    async fn enqueue(&self, message: &Message, key: &str) -> StepResult<Receipt> {
        let message = OutboxMessage::new(message.clone()).idempotency_key(key.parse()?);
        let queued = self.outbox.enqueue(message).await?;
        let detail = localized!(
            "the message was recorded under the key {key}; from here on it is not lost",
            "消息已用幂等键 {key} 登记，从此不会丢失"
        );
        Ok((queued, detail))
    }

    async fn enqueue_parcel(&self, grant: Grant, key: &str) -> StepResult<(Message, Receipt)> {
        let message =
            Message::builder(grant).title("Your parcel").content("It is here.\nCome and get it.").build()?;
        let (queued, detail) = self.enqueue(&message, key).await?;
        Ok(((message, queued), detail))
    }

    /// The worker sends the message.
    async fn settled(&self, queued: &Receipt) -> Result<StoredMessage, Box<dyn Error>> {
        let clock = SystemClock::new();
        let waiting = self.outbox.wait(queued.id());
        let settled = timeout_at(&clock, clock.now().mono + SEND_TIMEOUT, waiting).await;
        Ok(settled.ok_or("the worker did not send the message in time")??)
    }

    async fn check_sent(&self, queued: &Receipt) -> StepResult<()> {
        match self.settled(queued).await?.state {
            MessageState::Sent => done(localized!(
                "the worker sent the message; its outcome is recorded",
                "worker 已发出消息，结果已记录"
            )),
            other => Err(format!("the message is {other}").into()),
        }
    }

    /// The user's mailbox has exactly this message.
    fn check_mailbox(&self, sent: &Message) -> StepResult<()> {
        let expected = serde_json::to_value(sent)?;
        let received = self.sandbox.mailbox(sent.grant().openid());
        match received.as_slice() {
            [only] if expected.as_object() == Some(&only.body) => done(localized!(
                "the user received exactly this message: {title:?}",
                "用户收到的正是这条消息：{title:?}",
                title = sent.title().as_str()
            )),
            others => Err(format!("the user received other messages ({})", others.len()).into()),
        }
    }

    /// The shop repeats its request, for example after a lost response.
    async fn repeat(&self, message: &Message, queued: &Receipt) -> StepResult<()> {
        let again = self.enqueue(message, FIRST_KEY).await?.0;
        match (again.replayed(), again.id() == queued.id(), self.received(message.grant().openid())) {
            (true, true, 1) => done(localized!(
                "the same request again gave the same message; nothing was sent twice",
                "重复同一请求得到同一条消息，没有重复发送"
            )),
            other => Err(format!("the same request again gave another message ({other:?})").into()),
        }
    }

    /// One consent allows one message.
    async fn send_again(&self, grant: Grant) -> StepResult<()> {
        let message = Message::builder(grant).title("One more").content("And another thing.").build()?;
        let settled = self.settled(&self.enqueue(&message, "order-8").await?.0).await?;
        match (settled.state, settled.detail.errcode) {
            (MessageState::Refused, Some(ErrCode::USER_REFUSED)) => done(localized!(
                "a second message was refused with 43101: one consent allows one message",
                "第二条消息被 43101 拒绝：一次授权只能发送一条消息"
            )),
            (MessageState::Sent, _) => Err("a second message was sent without consent".into()),
            other => Err(format!("a second message ended otherwise: {other:?}").into()),
        }
    }

    /// Another process fetches a token for the same app, which invalidates the shop's token.
    fn invalidate_token(&self) -> StepResult<()> {
        self.sandbox.invalidate_tokens(&self.appid)?;
        done(localized!(
            "another process fetched a token for this app, which invalidated the shop's token",
            "另一个进程为该应用获取了 access_token，商家原来的 access_token 随之失效"
        ))
    }

    /// The user allows another message. The client refreshes the token and repeats the send.
    async fn send_with_refresh(&self, first: Message) -> StepResult<()> {
        let openid = first.grant().openid().clone();
        let url = self.consent_url()?.0;
        let callback = self.allow(&url).await?.0;
        let grant = self.record_grant(&callback).await?.0;
        let (second, queued) = self.enqueue_parcel(grant, "order-9").await?.0;
        self.check_sent(&queued).await?;
        let (fetches, posts) = self.traffic();
        match (self.received(&openid), fetches, posts) {
            (2, 2, 4) => done(localized!(
                "the user allowed and received another message: Weixin rejected the token, the client fetched \
                 a new one and repeated the send",
                "用户再次授权并收到消息：微信拒绝了原来的 access_token，client 获取新的之后重发"
            )),
            (received, ..) => Err(format!(
                "{received} messages instead of 2, {fetches} fetches instead of 2, {posts} posts instead of 4 ({})",
                second.title()
            ).into()),
        }
    }

    fn summarize(&self, steps: u32) -> StepResult<()> {
        let (fetches, posts) = self.traffic();
        done(localized!(
            "all {steps} steps succeeded: 2 messages received, {posts} posts, {fetches} token fetches",
            "{steps} 个步骤全部成功：收到 2 条消息，发送请求 {posts} 次，获取 access_token {fetches} 次"
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

/// The result of a step: a value for later steps and a description, or an error message.
type StepResult<T> = Result<(T, String), Box<dyn Error>>;

/// The result of a step without a value.
fn done(description: String) -> StepResult<()> {
    Ok(((), description))
}

/// A step failed, and its error is printed.
#[derive(Debug)]
struct StepFailed;

/// Prints one line per step.
struct Reporter {
    output: Output,
    json: bool,
    steps: u32,
}

#[derive(Serialize)]
struct Step<'a> {
    step: u32,
    name: &'a str,
    ok: bool,
    detail: &'a str,
}

impl Reporter {
    /// Prints the result of a step and returns its value.
    ///
    /// # Errors
    ///
    /// [`StepFailed`] if the result is an error.
    fn step<T>(&mut self, name: &str, result: StepResult<T>) -> Result<T, StepFailed> {
        self.steps += 1;
        let (value, detail) = match result {
            Ok((value, detail)) => (Ok(value), detail),
            Err(error) => (Err(StepFailed), error.to_string()),
        };
        let step = Step { step: self.steps, name, ok: value.is_ok(), detail: &sanitize_line(detail.chars()) };
        if self.json {
            self.output.json(&step);
        } else {
            let mark = if step.ok { '✓' } else { '✗' };
            self.output.line(format_args!("{mark} {:>2} {name:<15} {}", step.step, step.detail));
        }
        self.output.flush();
        value
    }
}

/// Maximum length of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Makes a request as a browser does: a `GET`, or a `POST` of a form.
async fn browse(url: &str, form: Option<String>) -> Result<Response<String>, Box<dyn Error>> {
    let url: Uri = url.split('#').next().unwrap_or_default().parse()?;
    let host = url.authority().ok_or("the URL has no host")?.as_str();
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(host).await?)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(if form.is_some() { Method::POST } else { Method::GET })
        .uri(url.path_and_query().map_or("/", |target| target.as_str()))
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.unwrap_or_default())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await;
    let body = body.map_err(|error| -> Box<dyn Error> { error })?.to_bytes();
    Ok(Response::from_parts(head, String::from_utf8_lossy(&body).into_owned()))
}
