//! The endpoint of webhooks. It notes what arrives, and fails now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use fastrand::Rng;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
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
    endpoint: Arc<Endpoint>,
}

/// What the handler shares with the test.
struct Endpoint {
    verifier: Webhook,
    arrivals: Mutex<Arrivals>,
    rng: Mutex<Rng>,
    is_reliable: AtomicBool,
}

impl Receiver {
    pub(super) async fn start(rng: Rng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let secret = WebhookSecret::generate().unwrap().expose_secret().as_str().to_owned();
        let (verifier, rng) = (Webhook::new(&secret).unwrap(), Mutex::new(rng));
        let endpoint =
            Endpoint { verifier, arrivals: Mutex::default(), rng, is_reliable: AtomicBool::default() };
        let endpoint = Arc::new(endpoint);
        let router = Router::new().route("/hooks", post(receive)).with_state(Arc::clone(&endpoint));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, secret, endpoint }
    }

    /// From now on, it does not fail.
    pub(super) fn be_reliable(&self) {
        self.endpoint.is_reliable.store(true, Ordering::Relaxed);
    }

    pub(super) fn arrivals(&self) -> Arrivals {
        self.endpoint.arrivals.lock().unwrap().clone()
    }
}

async fn receive(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap, body: Bytes) -> Response {
    let is_new = endpoint.arrivals.lock().unwrap().add(&headers, body, &endpoint.verifier);
    if !is_new || endpoint.is_reliable.load(Ordering::Relaxed) {
        return StatusCode::NO_CONTENT.into_response();
    }
    // One in eight webhooks fails at first.
    match endpoint.rng.lock().unwrap().u8(0..16) {
        0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        1 => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

impl Arrivals {
    /// Returns whether its id is new.
    fn add(&mut self, headers: &HeaderMap, body: Bytes, verifier: &Webhook) -> bool {
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
