//! Endpoints in process: the hosts whose names end with `.example`.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::Value;
use wxsub_core::transport::{HttpRequest, Transport, TransportError};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_proto::codec::RawResponse;
use wxsub_sandbox_transport::SandboxTransport;

/// How an endpoint responds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    /// With the header Retry-After, in seconds.
    RetryAfter(u16, u64),
    /// Never.
    Hang,
}

/// A webhook that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) host: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Webhook {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The event and its sequence.
    pub(crate) fn event(&self) -> (String, u64) {
        let json = self.json();
        (json["type"].as_str().unwrap().to_owned(), json["data"]["sequence"].as_u64().unwrap())
    }
}

/// All endpoints. They respond with 204 unless set otherwise.
#[derive(Debug, Default)]
pub(crate) struct WebhookReceivers {
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    arrived: Mutex<Vec<Webhook>>,
}

impl WebhookReceivers {
    /// The next requests to this host get these answers.
    pub(crate) fn answer(&self, host: &str, answers: &[Answer]) {
        self.answers.lock().unwrap().entry(host.to_owned()).or_default().extend(answers);
    }

    /// What has arrived at this host.
    pub(crate) fn at(&self, host: &str) -> Vec<Webhook> {
        self.arrived.lock().unwrap().iter().filter(|webhook| webhook.host == host).cloned().collect()
    }

    /// A transport to these endpoints, over real HTTP to `localhost`, and else to Weixin.
    pub(crate) fn beside(self: Arc<Self>, weixin: SandboxTransport) -> impl Transport {
        let real = HyperTransport::builder().roots(Roots::Bundled).build().unwrap();
        let others = Arc::new((weixin, real));
        move |request: HttpRequest| {
            let (receivers, others) = (Arc::clone(&self), Arc::clone(&others));
            async move {
                let request = request.into_http();
                let host = request.uri().host().unwrap_or_default().to_owned();
                match host.as_str() {
                    "localhost" => others.1.execute(HttpRequest::from_http(request)).await,
                    name if name.ends_with(".example") => receivers.receive(host, request).await,
                    _ => others.0.execute(HttpRequest::from_http(request)).await,
                }
            }
        }
    }

    async fn receive(
        &self,
        host: String,
        request: axum::http::Request<axum::body::Bytes>,
    ) -> Result<RawResponse<axum::body::Bytes>, TransportError> {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/hooks"));
        let answer = self.answers.lock().unwrap().get_mut(&host).and_then(VecDeque::pop_front);
        let (head, body) = request.into_parts();
        let body = String::from_utf8(body.to_vec()).unwrap();
        self.arrived.lock().unwrap().push(Webhook { host, headers: head.headers, body });
        let response = |status| RawResponse::new(status, axum::body::Bytes::new());
        match answer.unwrap_or(Answer::Status(204)) {
            Answer::Status(status) => Ok(response(status)),
            Answer::RetryAfter(status, seconds) => {
                Ok(response(status).with_retry_after(Some(Duration::from_secs(seconds))))
            }
            Answer::Hang => pending().await,
        }
    }
}
