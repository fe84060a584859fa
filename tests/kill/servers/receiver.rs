//! The endpoint of webhooks. It notes what arrives, and fails now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use wxsub_core::webhook::WebhookSecret;

/// What has arrived.
#[derive(Debug, Default, Clone)]
pub(super) struct Arrivals {
    pub(super) requests: usize,
    /// Those whose signature is wrong.
    pub(super) unverified: usize,
    /// The ids of the webhooks about each event of each message, and the outcome that they say.
    pub(super) events: BTreeMap<String, BTreeMap<u64, Event>>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Event {
    pub(super) ids: BTreeSet<String>,
    pub(super) bodies: BTreeSet<Bytes>,
    pub(super) outcome: String,
}

pub(super) struct Receiver {
    pub(super) url: String,
    pub(super) secret: String,
    arrivals: Arc<Mutex<Arrivals>>,
    is_reliable: Arc<AtomicBool>,
}

impl Receiver {
    pub(super) async fn start(rng: Rng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let secret = WebhookSecret::generate().unwrap().expose_secret().as_str().to_owned();
        let arrivals = Arc::<Mutex<Arrivals>>::default();
        let is_reliable = Arc::<AtomicBool>::default();
        let dice = Dice { rng: Mutex::new(rng), is_reliable: Arc::clone(&is_reliable) };
        tokio::spawn(serve(listener, Webhook::new(&secret).unwrap(), Arc::clone(&arrivals), dice));
        Self { url, secret, arrivals, is_reliable }
    }

    /// From now on, it does not fail.
    pub(super) fn be_reliable(&self) {
        self.is_reliable.store(true, Ordering::Relaxed);
    }

    pub(super) fn arrivals(&self) -> Arrivals {
        self.arrivals.lock().unwrap().clone()
    }
}

/// Decides which requests fail.
struct Dice {
    rng: Mutex<Rng>,
    is_reliable: Arc<AtomicBool>,
}

impl Dice {
    /// One in eight webhooks fails at first.
    fn status(&self, is_new: bool) -> u16 {
        if !is_new || self.is_reliable.load(Ordering::Relaxed) {
            return 204;
        }
        match self.rng.lock().unwrap().u8(0..16) {
            0 => 500,
            1 => 503,
            _ => 204,
        }
    }
}

async fn serve(listener: TcpListener, verifier: Webhook, arrivals: Arc<Mutex<Arrivals>>, dice: Dice) {
    let (verifier, dice) = (Arc::new(verifier), Arc::new(dice));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (verifier, arrivals, dice) = (Arc::clone(&verifier), Arc::clone(&arrivals), Arc::clone(&dice));
        let service = service_fn(move |request: Request<Incoming>| {
            let (verifier, arrivals, dice) =
                (Arc::clone(&verifier), Arc::clone(&arrivals), Arc::clone(&dice));
            async move {
                let (head, body) = request.into_parts();
                // Its sender may be killed.
                let Ok(body) = body.collect().await else { return Ok(response(400)) };
                let is_new = arrivals.lock().unwrap().add(&head.headers, body.to_bytes(), &verifier);
                Ok::<_, Infallible>(response(dice.status(is_new)))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn response(status: u16) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if status == 503 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1_u16));
    }
    response
}

impl Arrivals {
    /// Returns whether its id is new.
    fn add(&mut self, headers: &hyper::HeaderMap, body: Bytes, verifier: &Webhook) -> bool {
        self.requests += 1;
        if verifier.verify(&body, headers).is_err() {
            self.unverified += 1;
        }
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        let json: Value = serde_json::from_slice(&body).unwrap();
        let data = &json["data"];
        let message = data["id"].as_str().unwrap().to_owned();
        let event = self.events.entry(message).or_default();
        let event = event.entry(data["sequence"].as_u64().unwrap()).or_default();
        data["outcome"].as_str().unwrap().clone_into(&mut event.outcome);
        event.bodies.insert(body);
        event.ids.insert(id)
    }
}
