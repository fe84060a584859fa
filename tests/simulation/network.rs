//! The network between one node and Weixin. Faults decide how a call ends; the oracle sees all calls.

use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use wxsub_core::Client;
use wxsub_core::error::SendError;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::{
    AppId, AppSecret, ConsentAction, ConsentRequest, Grant, Message, OpenId, Scene, TemplateId,
};
use wxsub_core::token::{TokenCache, TokenCacheBuilder, TokenEndpoint};
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_sandbox::{Response, Sandbox};

use super::fault_window::{FaultWindow, fault_at};
use super::faults::{ExternalFetch, NetworkFault};
use super::node_clock::NodeClock;
use super::oracle::{Operation, Oracle};

/// Precedes the lifetime, which is the last member of a token response.
const LIFETIME_MEMBER: &str = r#""expires_in":"#;
const ODD_LIFETIMES: [&str; 5] = ["0", "-1", "\"soon\"", "null", "[]"];

pub(super) struct Network {
    pub(super) node: usize,
    pub(super) weixin: Weixin,
    pub(super) clock: Arc<NodeClock>,
    pub(super) faults: Vec<FaultWindow<NetworkFault>>,
    pub(super) rng: Mutex<Rng>,
}

/// The sandbox, and the oracle that sees what arrives there.
#[derive(Clone)]
pub(super) struct Weixin {
    pub(super) sandbox: Sandbox,
    pub(super) oracle: Arc<Oracle>,
}

impl Weixin {
    /// Another program fetches a token of this app, or has fetched one.
    pub(super) fn fetch_externally(&self, fetch: ExternalFetch, appid: &AppId) {
        match fetch {
            ExternalFetch::Earlier => self.sandbox.invalidate_tokens(appid).unwrap(),
            ExternalFetch::Now => {
                let target = format!(
                    "/cgi-bin/token?grant_type=client_credential&appid={appid}&secret=sandbox-secret"
                );
                let reply = self.sandbox.handle("GET", &target, b"").outcome.unwrap();
                self.oracle.response_issued(&target, &reply.body);
            }
        }
    }

    fn handle(&self, sent: &SentRequest) -> Response {
        let SentRequest { method, target, body } = sent;
        let reply = self.sandbox.handle(method, target, body).outcome.unwrap();
        self.oracle.request_arrived(target);
        self.oracle.response_issued(target, &reply.body);
        reply
    }

    fn refuse(&self, sent: &SentRequest, errcode: i32, errmsg: &str) -> ExchangeResult {
        self.oracle.request_arrived(&sent.target);
        Ok(RawResponse::new(200, format!(r#"{{"errcode":{errcode},"errmsg":"{errmsg}"}}"#).into()))
    }
}

/// The deadline of one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// An app at Weixin.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) appid: AppId,
    pub(super) secret: AppSecret,
    pub(super) template: TemplateId,
    pub(super) endpoint: TokenEndpoint,
}

impl App {
    /// A new app, which the sandbox knows from now on.
    pub(super) fn at(sandbox: &Sandbox, appid: &str, endpoint: TokenEndpoint) -> Self {
        let (appid, secret) = (appid.parse().unwrap(), "sandbox-secret".parse().unwrap());
        let app = Self { appid, secret, template: "TEMPLATE".parse().unwrap(), endpoint };
        sandbox.add_app(app.appid.clone(), app.secret.clone(), [app.template.clone()]);
        app
    }
}

impl Network {
    /// The token cache of one process, which fetches over this network.
    pub(super) fn cache(self: &Arc<Self>, app: &App, seed: u64) -> TokenCacheBuilder {
        TokenCache::builder(app.appid.clone(), app.secret.clone(), self.clone())
            .api_base("http://localhost".parse().unwrap())
            .clock(self.clock.clone())
            .endpoint(app.endpoint)
            .jitter_seed(seed)
    }

    /// The client of one process, which sends over this network.
    pub(super) fn client(self: &Arc<Self>, cache: &TokenCache, seed: u64) -> Client {
        Client::with_token_source(cache.clone(), self.clone())
            .api_base("http://localhost".parse().unwrap())
            .clock(self.clock.clone())
            .timeout(SEND_TIMEOUT)
            .rng_seed(seed)
            .build()
    }

    /// Sends a message to which its user consents now. Returns when it was sent, and how that ended.
    pub(super) async fn send(
        &self,
        app: &App,
        client: &Client,
        openid: &str,
    ) -> (Range<Duration>, Result<(), SendError>) {
        let (scene, user): (_, OpenId) = (Scene::new(7).unwrap(), openid.parse().unwrap());
        let request = ConsentRequest::new(app.appid.clone(), app.template.clone(), scene).unwrap();
        self.weixin.sandbox.consent(request, ConsentAction::Confirm { openid: user.clone() }).unwrap();
        let grant = Grant::assume_verified(user, app.template.clone(), scene).unwrap();
        let message = Message::builder(grant).title("Title").content("Text").build().unwrap();
        let began = self.clock.elapsed();
        let outcome = client.send(&message).await;
        self.weixin.oracle.outcome_reported(openid, &outcome);
        let span = began..self.clock.elapsed();
        let took = span.end - span.start;
        if took > SEND_TIMEOUT + Duration::from_millis(10) && !self.clock.was_suspended(&span) {
            self.report_violation(&format!("{openid} took {took:?}"));
        }
        (span, outcome)
    }

    pub(super) fn report_violation(&self, what: &str) {
        self.weixin.oracle.report_violation(&format!("{}: {what}", self.node));
    }
}

/// A request in the form that the sandbox takes.
#[derive(Clone)]
struct SentRequest {
    method: String,
    target: String,
    body: Bytes,
}

impl Network {
    fn rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap())
    }

    async fn wait(&self, millis: Range<u64>) {
        let millis = self.rng(|rng| rng.u64(millis));
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    /// Delivers the request after a delay, also when the caller has given up.
    fn deliver_late(&self, sent: &SentRequest) {
        let (weixin, clock, sent) = (self.weixin.clone(), Arc::clone(&self.clock), sent.clone());
        let delay = Duration::from_millis(self.rng(|rng| rng.u64(20_000..90_000)));
        tokio::spawn(async move {
            clock.sleep(delay).await;
            weixin.handle(&sent);
        });
    }

    async fn deliver(
        &self,
        sent: &SentRequest,
        operation: Operation,
        fault: Option<NetworkFault>,
    ) -> ExchangeResult {
        let broken = || Err(TransportError::maybe_sent(TransportErrorKind::Broken, "reset"));
        match fault {
            None | Some(NetworkFault::StoreUnavailable) => reply(self.weixin.handle(sent)),
            Some(NetworkFault::Slow) => {
                self.wait(1_000..20_000).await;
                reply(self.weixin.handle(sent))
            }
            Some(NetworkFault::Unreachable) => {
                Err(TransportError::before_sending(TransportErrorKind::Connect, "refused"))
            }
            Some(NetworkFault::RequestLost) => broken(),
            Some(NetworkFault::ResponseLost) => {
                self.weixin.handle(sent);
                broken()
            }
            Some(NetworkFault::Hanging) => pending().await,
            Some(NetworkFault::ArrivesLate) => {
                self.deliver_late(sent);
                pending().await
            }
            Some(NetworkFault::Gateway) => {
                if self.rng(Rng::bool) {
                    self.weixin.handle(sent);
                }
                Ok(RawResponse::new(502, Bytes::from_static(b"<html>502 Bad Gateway</html>")))
            }
            Some(NetworkFault::CaptivePortal) => {
                Ok(RawResponse::new(200, Bytes::from_static(b"<html>please log in</html>")))
            }
            Some(NetworkFault::Truncated) => {
                let mut body = self.weixin.handle(sent).body;
                body.truncate(body.len() / 2);
                Ok(RawResponse::new(200, body.into()))
            }
            Some(NetworkFault::OddLifetime) if operation == Operation::Token => {
                let body = String::from_utf8(self.weixin.handle(sent).body).unwrap();
                let odd = self.rng(|rng| ODD_LIFETIMES[rng.usize(0..ODD_LIFETIMES.len())]);
                let body = match body.split_once(LIFETIME_MEMBER) {
                    Some((before, _)) => format!("{before}{LIFETIME_MEMBER}{odd}}}"),
                    None => body,
                };
                Ok(RawResponse::new(200, body.into()))
            }
            Some(NetworkFault::Busy) => self.weixin.refuse(sent, -1, "system error"),
            Some(NetworkFault::Quota) => self.weixin.refuse(sent, 45009, "reach max api daily quota limit"),
            Some(NetworkFault::AddressRefused) => {
                self.weixin.refuse(sent, 40164, "invalid ip 192.0.2.7, not in whitelist")
            }
            Some(NetworkFault::Frozen) if operation == Operation::Token => {
                self.weixin.refuse(sent, 40243, "AppSecret is frozen")
            }
            Some(NetworkFault::OddLifetime | NetworkFault::Frozen) => reply(self.weixin.handle(sent)),
        }
    }
}

type ExchangeResult = Result<RawResponse<Bytes>, TransportError>;

fn reply(reply: Response) -> ExchangeResult {
    Ok(RawResponse::new(reply.status, reply.body.into()))
}

#[async_trait]
impl Transport for Network {
    async fn execute(&self, request: HttpRequest) -> ExchangeResult {
        let request = request.into_http();
        let target = request.uri().path_and_query().unwrap().to_string();
        let sent = SentRequest { method: request.method().to_string(), target, body: request.into_body() };
        let call = self.weixin.oracle.request_sent(self.node, &sent.target, &sent.body);
        let fault = self.rng(|rng| fault_at(&self.faults, self.clock.elapsed(), rng));
        self.wait(2..80).await;
        let result = self.deliver(&sent, call.operation, fault).await;
        self.wait(2..80).await;
        call.response_received(&result);
        result
    }
}
