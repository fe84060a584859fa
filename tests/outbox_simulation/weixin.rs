//! Weixin as one process sees it: consents, tokens, responses, and a network that fails.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use serde_json::Value;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::state::MessageState;

use super::fault_window::fault_at;
use super::plan::{NetworkFault, Refusal};
use super::scenario::{Node, Scenario};

/// The network between one process and Weixin.
#[derive(Clone)]
pub(super) struct Network {
    node: Arc<Node>,
    /// Of one call, on a copy of the network that is made for it.
    rng: Arc<Mutex<Rng>>,
    seed: u64,
    /// How many calls there were, by the number of their message; 0 stands for token calls.
    calls: Arc<Mutex<BTreeMap<u32, u64>>>,
}

/// To whom a message goes, and the number in its text.
fn number_of(body: &[u8]) -> (String, u32) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&body["touser"]), text(&body["data"]["content"]["value"]).parse().unwrap())
}

/// A message on its way.
struct PostedMessage {
    number: u32,
    user: String,
    post: usize,
}

impl Network {
    pub(super) fn new(node: Arc<Node>, rng: &mut Rng) -> Self {
        let own = Arc::new(Mutex::new(rng.fork()));
        Self { node, rng: own, seed: rng.u64(..), calls: Arc::default() }
    }

    fn scenario(&self) -> &Scenario {
        &self.node.scenario
    }

    /// With rng of its own: in which order tokio wakes those who wait for one token is not decided by the seed.
    fn for_call(&self, number: u32) -> Self {
        let mut calls = self.calls.lock().unwrap();
        let count = calls.entry(number).or_default();
        *count += 1;
        let seed = self.seed ^ (u64::from(number) << 32 | *count);
        Self { rng: Arc::new(Mutex::new(Rng::with_seed(seed))), ..self.clone() }
    }

    fn rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap())
    }

    fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng(|rng| rng.u64(range)))
    }

    fn refusal(&self) -> Option<Refusal> {
        self.rng(|rng| fault_at(&self.scenario().plan.refusals, self.scenario().true_clock.elapsed(), rng))
    }

    fn handle(&self, posted: &PostedMessage) -> i64 {
        let code = match self.refusal() {
            Some(Refusal::NoToken) => 42001,
            Some(Refusal::MinuteQuota) => 45011,
            Some(Refusal::DailyQuota) => 45009,
            Some(Refusal::Template) => 40037,
            None if self.scenario().consents.lock().unwrap().remove(&posted.user) => 0,
            None => 43101,
        };
        self.scenario().oracle.handled(posted.post, code);
        code
    }

    /// A POST needs an attempt in the ledger. The ledger is looked at directly, not through the process.
    fn record_post(&self, body: &[u8]) -> PostedMessage {
        let (user, number) = number_of(body);
        let text = number.to_string();
        let query = MessageQuery {
            openid: Some(user.parse().unwrap()),
            ..MessageQuery::new(self.scenario().appid.clone())
        };
        let rows = self.scenario().ledger.messages(&query).now_or_never().unwrap().unwrap();
        let durable = rows.iter().any(|row| {
            let attempted = row.state == MessageState::Attempting || row.is_undecided();
            let same = row.body.as_ref().is_some_and(|body| body.content().as_str() == text.as_str());
            attempted && same && row.attempt > 0
        });
        let now = self.node.clock.elapsed();
        // A process that is stopped between its last look at the clock and its POST posts late.
        let stopped = self.node.clock.was_suspended(&(now.saturating_sub(Duration::from_secs(700))..now));
        if !durable && !stopped {
            self.scenario()
                .oracle
                .violation(&format!("message {number} is posted without a durable attempt"));
        }
        let post = self.scenario().oracle.record_post(number);
        self.scenario().oracle.trace(|| format!("post {post}: message {number} to {user} is posted"));
        PostedMessage { number, user, post }
    }

    /// The request arrives later, whether or not its process still waits.
    fn arrive_later(&self, posted: PostedMessage, delay: Duration) {
        let network = self.clone();
        tokio::spawn(async move {
            network.scenario().true_clock.sleep(delay).await;
            network.handle(&posted);
        });
    }

    async fn post(&self, body: &[u8]) -> ExchangeResult {
        let fault = self.rng(|rng| fault_at(&self.scenario().plan.network, self.node.clock.elapsed(), rng));
        if fault == Some(NetworkFault::ConnectFails) {
            return Err(TransportError::before_sending(TransportErrorKind::Connect, "refused"));
        }
        let posted = self.record_post(body);
        self.scenario().oracle.trace(|| format!("post {} meets {fault:?}", posted.post));
        let broken = || Err(TransportError::maybe_sent(TransportErrorKind::Broken, "reset"));
        match fault {
            Some(NetworkFault::RequestIsLost) => return broken(),
            Some(NetworkFault::RequestIsSlow) => {
                let delay = self.millis(1_000..90_000);
                self.arrive_later(posted, delay);
                return pending().await;
            }
            Some(NetworkFault::Hangs) => return pending().await,
            Some(NetworkFault::ResponseIsLost) => {
                let delay = self.millis(1..100);
                self.arrive_later(posted, delay);
                self.node.clock.sleep(Duration::from_millis(200)).await;
                return broken();
            }
            Some(NetworkFault::Gateway) => {
                if self.rng(Rng::bool) {
                    self.handle(&posted);
                }
                return Ok(RawResponse::new(502, Bytes::from_static(b"<html>502 Bad Gateway</html>")));
            }
            Some(NetworkFault::LedgerIsCutOff) => {
                let now = self.node.clock.elapsed();
                self.node.cut_offs.add(now..now + self.millis(1_000..180_000));
            }
            Some(NetworkFault::ConnectFails) | None => {}
        }
        let (number, post) = (posted.number, posted.post);
        let (sender, response) = tokio::sync::oneshot::channel();
        let (network, delay) = (self.clone(), self.millis(2..400));
        tokio::spawn(async move {
            network.scenario().true_clock.sleep(delay).await;
            let _ = sender.send(network.handle(&posted));
        });
        let Ok(code) = response.await else { return broken() };
        self.node.clock.sleep(self.millis(2..100)).await;
        self.scenario().oracle.noted().posts[post].has_response = true;
        self.scenario().oracle.trace(|| format!("message {number} gets the response {code}"));
        Ok(RawResponse::new(200, format!(r#"{{"errcode":{code},"errmsg":"m"}}"#).into()))
    }

    async fn token(&self) -> ExchangeResult {
        let fault = self.rng(|rng| fault_at(&self.scenario().plan.network, self.node.clock.elapsed(), rng));
        self.node.clock.sleep(self.millis(2..200)).await;
        if fault.is_some_and(|fault| fault != NetworkFault::LedgerIsCutOff) {
            return Err(TransportError::before_sending(TransportErrorKind::Connect, "refused"));
        }
        let body = match self.refusal() {
            Some(Refusal::NoToken) => {
                r#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7, not in whitelist"}"#.to_owned()
            }
            _ => format!(r#"{{"access_token":"T{}","expires_in":7200}}"#, self.rng(|rng| rng.u64(..))),
        };
        Ok(RawResponse::new(200, body.into()))
    }
}

type ExchangeResult = Result<RawResponse<Bytes>, TransportError>;

#[async_trait]
impl Transport for Network {
    async fn execute(&self, request: HttpRequest) -> ExchangeResult {
        let request = request.into_http();
        let posts = request.uri().path() == subscribe::PATH;
        let number = if posts { number_of(request.body()).1 + 1 } else { 0 };
        let network = self.for_call(number);
        network.node.clock.sleep(network.millis(2..80)).await;
        if posts { network.post(request.body()).await } else { network.token().await }
    }
}
