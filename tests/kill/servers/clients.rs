//! Clients of both servers. A client repeats a request with the same key, at one server or the other, until it has a response.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::Request;
use serde_json::{Value, json};
use tokio::join;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_sandbox::{Fault, Sandbox};
use wxsub_tests::SEND;

use super::super::orders::{APP, SCENE, TEMPLATE, allow, is_synchronous, message, pause, user};
use super::super::plan::KillSwitch;
use super::super::tcp_transport::TcpTransport;
use super::process::Servers;

/// The longest time until a client has a response: a lease may have to end before.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(150);

/// The longest pause between two orders of a client.
const MAX_PAUSE_MILLIS: u64 = 800;

/// How long Weixin takes for some responses: long enough for kills in between.
const SLOW_RESPONSE: Duration = Duration::from_millis(300);

/// What a server responded about an order. It is final, except for `Queued` and `MaybeSent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Sent,
    Refused,
    MaybeSent,
    Queued,
    /// There is no grant for it: nothing was posted under this key.
    NoGrant,
}

#[derive(Debug, Clone)]
pub(super) struct ClientResponse {
    pub(super) order: u32,
    pub(super) key: String,
    pub(super) outcome: Outcome,
    /// The id of the message, if one was recorded.
    pub(super) message: Option<String>,
}

/// What the clients share.
pub(super) struct Desk {
    sandbox: Sandbox,
    addresses: [String; 2],
    key: String,
    next_order: AtomicU32,
    is_closed: AtomicBool,
    responses: Mutex<Vec<ClientResponse>>,
}

impl Desk {
    pub(super) fn new(sandbox: Sandbox, servers: &Servers) -> Self {
        let (addresses, key) = (servers.addresses.clone(), servers.key.clone());
        let (next_order, is_closed) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { sandbox, addresses, key, next_order, is_closed, responses: Mutex::default() }
    }

    /// The clients end when they have their responses.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn responses(&self) -> Vec<ClientResponse> {
        self.responses.lock().unwrap().clone()
    }
}

/// Whether two messages with different keys want the grant of this order.
pub(super) fn has_rival(order: u32) -> bool {
    order % 5 == 1
}

/// Whether two requests with the same key are made at once.
fn is_doubled(order: u32) -> bool {
    order % 5 == 2
}

/// Whether Weixin knows of no consent, and refuses the message.
fn is_refused(order: u32) -> bool {
    order.is_multiple_of(10)
}

pub(super) struct Client {
    desk: Arc<Desk>,
    rng: Rng,
}

impl Client {
    pub(super) fn new(desk: Arc<Desk>, rng: Rng) -> Self {
        Self { desk, rng }
    }

    pub(super) async fn run(mut self) {
        while !self.desk.is_closed.load(Ordering::Relaxed) {
            let order = self.desk.next_order.fetch_add(1, Ordering::Relaxed);
            let clock = SystemClock::new();
            let responded = timeout_at(&clock, clock.now().mono + RESPONSE_TIMEOUT, self.take(order)).await;
            assert!(responded.is_some(), "order {order} got no response");
            pause(self.rng.u64(0..MAX_PAUSE_MILLIS)).await;
        }
    }

    /// Records the user's consent, and sends the message.
    async fn take(&mut self, order: u32) {
        let sandbox = &self.desk.sandbox;
        if !is_refused(order) {
            allow(sandbox, order);
        }
        let fault = match self.rng.u8(0..32) {
            0 => Some(Fault::ResetAfterApply),
            1..=6 => Some(Fault::Delay(SLOW_RESPONSE)),
            _ => None,
        };
        fault.map(|fault| sandbox.add_fault(SEND, 1, fault));
        let consent = json!({"openid": user(order), "template_id": TEMPLATE, "scene": SCENE}).to_string();
        while !matches!(self.ask("grants", &format!("consent-{order}"), &consent).await, Some((200 | 201, _)))
        {
            pause(20).await;
        }
        let (key, mut other) = (format!("order-{order}"), Self::new(Arc::clone(&self.desk), self.rng.fork()));
        if has_rival(order) {
            let rival = format!("rival-{order}");
            join!(self.send(order, &key), other.send(order, &rival));
        } else if is_doubled(order) {
            join!(self.send(order, &key), other.send(order, &key));
        } else {
            self.send(order, &key).await;
        }
        // Later, the response is the same.
        if self.rng.u8(0..4) == 0 {
            self.send(order, &key).await;
        }
    }

    /// Asks until there is a response, and notes it.
    async fn send(&mut self, order: u32, key: &str) {
        let route = if is_synchronous(order) { "messages" } else { "outbox" };
        let body = String::from_utf8(message(order).to_json()).unwrap();
        loop {
            let asked = self.ask(route, key, &body).await;
            if let Some((outcome, message)) = asked.and_then(|(status, body)| read(status, &body)) {
                let response = ClientResponse { order, key: key.to_owned(), outcome, message };
                return self.desk.responses.lock().unwrap().push(response);
            }
            pause(self.rng.u64(5..100)).await;
        }
    }

    /// One request to one of the servers. None if the connection failed or broke.
    async fn ask(&mut self, route: &str, key: &str, body: &str) -> Option<(u16, Value)> {
        let request = Request::post(format!("/v1/apps/{APP}/{route}"))
            .header("authorization", format!("Bearer {}", self.desk.key))
            .header("idempotency-key", key)
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        let address = self.desk.addresses[self.rng.usize(0..2)].clone();
        let transport = TcpTransport { address, kill_switch: Arc::new(KillSwitch::new(None, 0, None)) };
        let response = transport.execute(HttpRequest::from_http(request)).await.ok()?;
        Some((response.status, serde_json::from_slice(&response.body).ok()?))
    }
}

/// The outcome in a response; `None` if the client must ask again.
fn read(status: u16, body: &Value) -> Option<(Outcome, Option<String>)> {
    let outcome = match (status, body["kind"].as_str().unwrap_or_default()) {
        (200, _) => Outcome::Sent,
        (202, _) => Outcome::Queued,
        (422, "refused") => Outcome::Refused,
        (504, "maybe_sent") => Outcome::MaybeSent,
        (409, "grant_unavailable" | "no_grant") => Outcome::NoGrant,
        (409, "in_flight") | (429 | 503, _) => return None,
        (status, _) => panic!("{status} {body}"),
    };
    Some((outcome, body["id"].as_str().map(str::to_owned)))
}
