//! Weixin as one process sees it: consents, tokens, answers, and a network that fails.

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
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportErrorKind};
use wxsub_outbox::Ledger;
use wxsub_outbox::ledger::MessageQuery;
use wxsub_outbox::state::MessageState;

use super::plan::{NetworkFault, Refusal, meets};
use super::scenario::{Machine, World};

/// The connection of one process.
#[derive(Clone)]
pub(super) struct Line {
    machine: Arc<Machine>,
    /// Of one call, on a copy of the line that is made for it.
    dice: Arc<Mutex<Rng>>,
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
struct Letter {
    number: u32,
    user: String,
    post: usize,
}

impl Line {
    pub(super) fn new(machine: Arc<Machine>, dice: &mut Rng) -> Self {
        let own = Arc::new(Mutex::new(dice.fork()));
        Self { machine, dice: own, seed: dice.u64(..), calls: Arc::default() }
    }

    fn world(&self) -> &World {
        &self.machine.world
    }

    /// With dice of its own: in which order tokio wakes those who wait for one token is not decided by the seed.
    fn for_call(&self, number: u32) -> Self {
        let mut calls = self.calls.lock().unwrap();
        let count = calls.entry(number).or_default();
        *count += 1;
        let seed = self.seed ^ (u64::from(number) << 32 | *count);
        Self { dice: Arc::new(Mutex::new(Rng::with_seed(seed))), ..self.clone() }
    }

    fn dice<T>(&self, throw: impl FnOnce(&mut Rng) -> T) -> T {
        throw(&mut self.dice.lock().unwrap())
    }

    fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.dice(|dice| dice.u64(range)))
    }

    fn refusal(&self) -> Option<Refusal> {
        self.dice(|dice| meets(&self.world().plan.refusals, self.world().truth.elapsed(), dice))
    }

    fn handle(&self, letter: &Letter) -> i64 {
        let code = match self.refusal() {
            Some(Refusal::NoToken) => 42001,
            Some(Refusal::MinuteQuota) => 45011,
            Some(Refusal::DailyQuota) => 45009,
            Some(Refusal::Template) => 40037,
            None if self.world().consents.lock().unwrap().remove(&letter.user) => 0,
            None => 43101,
        };
        self.world().oracle.handled(letter.post, code);
        code
    }

    /// A POST needs an attempt in the ledger. The ledger is looked at directly, not through the process.
    fn leaves(&self, body: &[u8]) -> Letter {
        let (user, number) = number_of(body);
        let text = number.to_string();
        let query = MessageQuery {
            openid: Some(user.parse().unwrap()),
            ..MessageQuery::new(self.world().appid.clone())
        };
        let rows = self.world().ledger.messages(&query).now_or_never().unwrap().unwrap();
        let durable = rows.iter().any(|row| {
            let attempted = row.state == MessageState::Attempting || row.is_undecided();
            let same = row.body.as_ref().is_some_and(|body| body.content().as_str() == text.as_str());
            attempted && same && row.attempt > 0
        });
        let now = self.machine.clock.elapsed();
        // A process that is stopped between its last look at the clock and its POST posts late.
        let stopped = self.machine.clock.was_suspended(&(now.saturating_sub(Duration::from_secs(700))..now));
        if !durable && !stopped {
            self.world().oracle.violation(&format!("message {number} is posted without a durable attempt"));
        }
        let post = self.world().oracle.leaves(number);
        self.world().oracle.trace(|| format!("post {post}: message {number} to {user} leaves"));
        Letter { number, user, post }
    }

    /// The request arrives later, whether or not its process still waits.
    fn arrive_later(&self, letter: Letter, delay: Duration) {
        let line = self.clone();
        tokio::spawn(async move {
            line.world().truth.sleep(delay).await;
            line.handle(&letter);
        });
    }

    async fn post(&self, body: &[u8]) -> Answer {
        let fault = self.dice(|dice| meets(&self.world().plan.network, self.machine.clock.elapsed(), dice));
        if fault == Some(NetworkFault::ConnectFails) {
            return Err(TransportError::before_sending(TransportErrorKind::Connect, "refused"));
        }
        let letter = self.leaves(body);
        self.world().oracle.trace(|| format!("post {} meets {fault:?}", letter.post));
        let broken = || Err(TransportError::maybe_sent(TransportErrorKind::Broken, "reset"));
        match fault {
            Some(NetworkFault::RequestIsLost) => return broken(),
            Some(NetworkFault::RequestIsSlow) => {
                let delay = self.millis(1_000..90_000);
                self.arrive_later(letter, delay);
                return pending().await;
            }
            Some(NetworkFault::Hangs) => return pending().await,
            Some(NetworkFault::ResponseIsLost) => {
                let delay = self.millis(1..100);
                self.arrive_later(letter, delay);
                self.machine.clock.sleep(Duration::from_millis(200)).await;
                return broken();
            }
            Some(NetworkFault::Gateway) => {
                if self.dice(Rng::bool) {
                    self.handle(&letter);
                }
                return Ok(RawResponse::new(502, Bytes::from_static(b"<html>502 Bad Gateway</html>")));
            }
            Some(NetworkFault::LedgerIsCutOff) => {
                let now = self.machine.clock.elapsed();
                self.machine.cut_offs.add(now..now + self.millis(1_000..180_000));
            }
            Some(NetworkFault::ConnectFails) | None => {}
        }
        let (number, post) = (letter.number, letter.post);
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (line, delay) = (self.clone(), self.millis(2..400));
        tokio::spawn(async move {
            line.world().truth.sleep(delay).await;
            let _ = answer.send(line.handle(&letter));
        });
        let Ok(code) = answered.await else { return broken() };
        self.machine.clock.sleep(self.millis(2..100)).await;
        self.world().oracle.answered(post);
        self.world().oracle.trace(|| format!("message {number} is answered: {code}"));
        Ok(RawResponse::new(200, format!(r#"{{"errcode":{code},"errmsg":"m"}}"#).into()))
    }

    async fn token(&self) -> Answer {
        let fault = self.dice(|dice| meets(&self.world().plan.network, self.machine.clock.elapsed(), dice));
        self.machine.clock.sleep(self.millis(2..200)).await;
        if fault.is_some_and(|fault| fault != NetworkFault::LedgerIsCutOff) {
            return Err(TransportError::before_sending(TransportErrorKind::Connect, "refused"));
        }
        let body = match self.refusal() {
            Some(Refusal::NoToken) => {
                r#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7, not in whitelist"}"#.to_owned()
            }
            _ => format!(r#"{{"access_token":"T{}","expires_in":7200}}"#, self.dice(|dice| dice.u64(..))),
        };
        Ok(RawResponse::new(200, body.into()))
    }
}

type Answer = Result<RawResponse<Bytes>, TransportError>;

#[async_trait]
impl Transport for Line {
    async fn execute(&self, request: HttpRequest) -> Answer {
        let request = request.into_http();
        let posts = request.uri().path() == "/cgi-bin/message/template/subscribe";
        let number = if posts { number_of(request.body()).1 + 1 } else { 0 };
        let line = self.for_call(number);
        line.machine.clock.sleep(line.millis(2..80)).await;
        if posts { line.post(request.body()).await } else { line.token().await }
    }
}
