use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, Url};
use wxsub_tls::{Roots, client_config};

use super::{AGENT, written};
use crate::contender::sending::{Sender, check};

/// reqwest, as it comes, trusting whom we trust.
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
        let client = Client::builder().http1_only().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
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
