use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, ClientBuilder, Url};
use wxsub_tls::{Roots, client_config};

use super::{AGENT, LIMIT, base, written};
use crate::contender::by_hand::ByHand;
use crate::contender::sending::{Sender, check};

/// reqwest with default settings and our trust roots.
#[derive(Clone)]
pub(crate) struct Reqwest {
    client: Client,
    url: Url,
    body: Bytes,
}

impl Reqwest {
    pub(crate) fn new(server: &str) -> Self {
        let (url, body) = written(server);
        let tls = client_config(&Roots::Bundled).unwrap();
        let client =
            Client::builder().http1_only().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
        Self { client, url: url.parse().unwrap(), body: body.into() }
    }
}

impl Sender for Reqwest {
    async fn send(&mut self) {
        let request = self.client.post(self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").header(USER_AGENT, AGENT);
        let response = request.body(self.body.clone()).send().await.unwrap();
        let status = response.status().as_u16();
        check(status, &response.bytes().await.unwrap());
    }
}

fn builder() -> ClientBuilder {
    let tls = client_config(&Roots::Bundled).unwrap();
    Client::builder().http1_only().no_proxy().tls_backend_preconfigured(tls)
}

/// The same, but it builds each request from the message, has a timeout, and parses the response.
#[derive(Clone)]
pub(crate) struct ReqwestByHand {
    client: Client,
    by_hand: ByHand,
}

impl ReqwestByHand {
    pub(crate) fn new(server: &str) -> Self {
        let client = builder().timeout(LIMIT).build().unwrap();
        Self { client, by_hand: ByHand::to(&base(server)) }
    }
}

impl Sender for ReqwestByHand {
    async fn send(&mut self) {
        let request = self.client.post(self.by_hand.url());
        let request = request.header(CONTENT_TYPE, "application/json").header(USER_AGENT, AGENT);
        let response = request.body(self.by_hand.body()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        ByHand::read(&response.bytes().await.unwrap());
    }
}
