//! Our clients as an application uses them, with token cache, deadlines and checked responses.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use tokio::runtime::Builder;
use wxsub_core::Client;
use wxsub_core::proto::Message;
use wxsub_core::transport::Transport;
use wxsub_hyper::HyperTransport;
use wxsub_reqwest::ReqwestTransport;
use wxsub_tls::Roots;

use super::sending::Sender;
use crate::measured::Measured;
use crate::{proc_fs, subject};

/// A client and its message.
#[derive(Clone)]
pub(super) struct Ours {
    client: Client,
    message: Message,
}

pub(super) fn over_hyper(server: &str) -> Ours {
    over(server, Arc::new(HyperTransport::builder().roots(Roots::Bundled).build().unwrap()))
}

pub(super) fn over_reqwest(server: &str) -> Ours {
    over(server, Arc::new(ReqwestTransport::builder().roots(Roots::Bundled).build().unwrap()))
}

fn over(server: &str, transport: Arc<dyn Transport>) -> Ours {
    let base = format!("http://{server}").parse().unwrap();
    let client =
        Client::builder(subject::app(), subject::secret(), transport).api_base(base).build().unwrap();
    Ours { client, message: subject::message() }
}

impl Sender for Ours {
    async fn send(&mut self) {
        self.client.send(&self.message).await.unwrap();
    }
}

/// The sends of `wxsub send --file`, on as many threads, without file, checks and results.
pub(super) fn send_all(server: &str, in_flight: usize, messages: usize) -> Measured {
    let Ours { client, message } = over_reqwest(server);
    let in_flight = NonZeroUsize::new(in_flight).unwrap();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let messages = stream::iter((0..messages).map(|number| (number, message.clone())));
        let mut sent = client.send_all(messages, in_flight);
        while let Some((_, outcome)) = sent.next().await {
            outcome.unwrap();
        }
    });
    Measured {
        cpu: proc_fs::cpu("self").as_nanos() as f64 / messages as f64,
        rate: messages as f64 / began.elapsed().as_secs_f64(),
        resident: proc_fs::resident("self").unwrap() as f64,
        peak: proc_fs::peak("self").unwrap() as f64,
        count: messages as f64,
    }
}
