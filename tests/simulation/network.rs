//! The line from one machine to Weixin. The weather decides what becomes of a call; the witness sees everything.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use wxsub_core::proto::codec::RawReply;
use wxsub_core::transport::{Outgoing, Transport, TransportError, TransportFault};
use wxsub_sandbox::{Response, Sandbox};

use super::faults::{Spell, Trouble};
use super::node_clock::MachineClock;
use super::oracle::{Call, Witness};

/// What stands before the life in a reply, of which it is the last member.
const LIFE: &str = r#""expires_in":"#;
const ODD_LIVES: [&str; 5] = ["0", "-1", "\"soon\"", "null", "[]"];

pub(super) struct Line {
    pub(super) machine: usize,
    pub(super) weixin: Weixin,
    pub(super) clock: Arc<MachineClock>,
    pub(super) weather: Vec<Spell>,
    pub(super) dice: Mutex<Rng>,
}

/// The other end, and who sees what arrives there.
#[derive(Clone)]
pub(super) struct Weixin {
    pub(super) sandbox: Sandbox,
    pub(super) witness: Arc<Witness>,
}

impl Weixin {
    fn arrive(&self, parcel: &Parcel) -> Response {
        let Parcel { method, target, body } = parcel;
        let reply = self.sandbox.handle(method, target, body).outcome.unwrap();
        self.witness.reached(target);
        self.witness.arrived(target, &reply.body);
        reply
    }

    fn refuse(&self, parcel: &Parcel, errcode: i32, errmsg: &str) -> Carried {
        self.witness.reached(&parcel.target);
        Ok(RawReply::new(200, format!(r#"{{"errcode":{errcode},"errmsg":"{errmsg}"}}"#).into()))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.machine)
    }
}

/// A request as the sandbox takes it.
#[derive(Clone)]
struct Parcel {
    method: String,
    target: String,
    body: Bytes,
}

impl Line {
    fn dice<T>(&self, throw: impl FnOnce(&mut Rng) -> T) -> T {
        throw(&mut self.dice.lock().unwrap())
    }

    fn trouble(&self) -> Option<Trouble> {
        let passed = self.clock.passed();
        let spells = self.weather.iter().filter(|spell| spell.covers(passed));
        self.dice(|dice| {
            spells.into_iter().find(|spell| dice.u8(0..100) < spell.percent).map(|spell| spell.trouble)
        })
    }

    async fn wait(&self, millis: std::ops::Range<u64>) {
        let millis = self.dice(|dice| dice.u64(millis));
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    /// It arrives whether or not anybody still waits.
    fn send_by_slow_post(&self, parcel: &Parcel) {
        let (weixin, clock, parcel) = (self.weixin.clone(), Arc::clone(&self.clock), parcel.clone());
        let delay = Duration::from_millis(self.dice(|dice| dice.u64(20_000..90_000)));
        tokio::spawn(async move {
            clock.sleep(delay).await;
            weixin.arrive(&parcel);
        });
    }

    async fn carry(&self, parcel: &Parcel, call: Call, trouble: Option<Trouble>) -> Carried {
        let broken = || Err(TransportError::maybe_sent(TransportFault::Broken, "reset"));
        match trouble {
            None | Some(Trouble::StoreAway) => reply(self.weixin.arrive(parcel)),
            Some(Trouble::Slow) => {
                self.wait(1_000..20_000).await;
                reply(self.weixin.arrive(parcel))
            }
            Some(Trouble::Unreachable) => {
                Err(TransportError::before_sending(TransportFault::Connect, "refused"))
            }
            Some(Trouble::RequestLost) => broken(),
            Some(Trouble::ReplyLost) => {
                self.weixin.arrive(parcel);
                broken()
            }
            Some(Trouble::Hangs) => pending().await,
            Some(Trouble::ArrivesLate) => {
                self.send_by_slow_post(parcel);
                pending().await
            }
            Some(Trouble::Gateway) => {
                if self.dice(Rng::bool) {
                    self.weixin.arrive(parcel);
                }
                Ok(RawReply::new(502, Bytes::from_static(b"<html>502 Bad Gateway</html>")))
            }
            Some(Trouble::Portal) => {
                Ok(RawReply::new(200, Bytes::from_static(b"<html>please log in</html>")))
            }
            Some(Trouble::Halved) => {
                let mut body = self.weixin.arrive(parcel).body;
                body.truncate(body.len() / 2);
                Ok(RawReply::new(200, body.into()))
            }
            Some(Trouble::OddLife) if call == Call::Token => {
                let body = String::from_utf8(self.weixin.arrive(parcel).body).unwrap();
                let odd = self.dice(|dice| ODD_LIVES[dice.usize(0..ODD_LIVES.len())]);
                let body = match body.split_once(LIFE) {
                    Some((before, _)) => format!("{before}{LIFE}{odd}}}"),
                    None => body,
                };
                Ok(RawReply::new(200, body.into()))
            }
            Some(Trouble::Busy) => self.weixin.refuse(parcel, -1, "system error"),
            Some(Trouble::Quota) => self.weixin.refuse(parcel, 45009, "reach max api daily quota limit"),
            Some(Trouble::Address) => {
                self.weixin.refuse(parcel, 40164, "invalid ip 192.0.2.7, not in whitelist")
            }
            Some(Trouble::Frozen) if call == Call::Token => {
                self.weixin.refuse(parcel, 40243, "AppSecret is frozen")
            }
            Some(Trouble::OddLife | Trouble::Frozen) => reply(self.weixin.arrive(parcel)),
        }
    }
}

type Carried = Result<RawReply<Bytes>, TransportError>;

fn reply(reply: Response) -> Carried {
    Ok(RawReply::new(reply.status, reply.body.into()))
}

#[async_trait]
impl Transport for Line {
    async fn exchange(&self, request: Outgoing) -> Carried {
        let request = request.into_http();
        let target = request.uri().path_and_query().unwrap().to_string();
        let parcel = Parcel { method: request.method().to_string(), target, body: request.into_body() };
        let seen = self.weixin.witness.leaves(self.machine, &parcel.target, &parcel.body);
        let trouble = self.trouble();
        self.wait(2..80).await;
        let carried = self.carry(&parcel, seen.call, trouble).await;
        self.wait(2..80).await;
        seen.comes_back(&carried);
        carried
    }
}
