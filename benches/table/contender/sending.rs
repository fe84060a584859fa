//! Sends the message many times, some concurrently: our clients as an application uses them, and the bare libraries.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use wxsub_benches::{proc_fs, subject};
use wxsub_core::Client;
use wxsub_core::proto::Message;
use wxsub_core::transport::Transport;
use wxsub_hyper::HyperTransport;
use wxsub_reqwest::{ReqwestTransport, Roots};

use super::bare;
use crate::process::Measured;

pub(super) fn run(name: &str, server: &str, in_flight: usize, messages: usize) -> Measured {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        match name {
            "sockets" => {
                let each = (0..in_flight).map(|_| bare::Socket::open(server));
                under_load(join_all(each).await, messages).await
            }
            "hyper-connection" => {
                let each = (0..in_flight).map(|_| bare::Connection::open(server));
                under_load(join_all(each).await, messages).await
            }
            "hyper-pool" => under_load(vec![bare::Pool::new(server); in_flight], messages).await,
            "reqwest" => under_load(vec![bare::Reqwest::new(server); in_flight], messages).await,
            "hyper-pool-by-hand" => {
                under_load(vec![bare::PoolByHand::new(server); in_flight], messages).await
            }
            "reqwest-by-hand" => {
                under_load(vec![bare::ReqwestByHand::new(server); in_flight], messages).await
            }
            "wxsub-hyper" => under_load(vec![over_hyper(server); in_flight], messages).await,
            "wxsub-reqwest" => under_load(vec![over_reqwest(server); in_flight], messages).await,
            _ => panic!("no contender is called {name}"),
        }
    })
}

/// A contender that can send the message.
pub(super) trait Sender: Send + 'static {
    fn send(&mut self) -> impl Future<Output = ()> + Send;
}

/// Sends a tenth as warm-up, then all messages, from a task for each sender.
async fn under_load<S: Sender>(senders: Vec<S>, messages: usize) -> Measured {
    let in_flight = senders.len();
    let each = messages.div_ceil(in_flight);
    let senders = all_send(senders, each.div_ceil(10)).await;
    let (cpu, began) = (proc_fs::cpu("self"), Instant::now());
    all_send(senders, each).await;
    measured(proc_fs::cpu("self") - cpu, began.elapsed(), each * in_flight)
}

fn measured(cpu: Duration, took: Duration, sent: usize) -> Measured {
    Measured {
        cpu: cpu.as_nanos() as f64 / sent as f64,
        rate: sent as f64 / took.as_secs_f64(),
        resident: proc_fs::resident("self").unwrap() as f64,
        peak: proc_fs::peak("self").unwrap() as f64,
        count: sent as f64,
    }
}

async fn all_send<S: Sender>(senders: Vec<S>, each: usize) -> Vec<S> {
    let tasks: JoinSet<S> = senders
        .into_iter()
        .map(|mut sender| async move {
            for _ in 0..each {
                sender.send().await;
            }
            sender
        })
        .collect();
    tasks.join_all().await
}

/// A client and its message.
#[derive(Clone)]
struct Ours {
    client: Client,
    message: Message,
}

fn over_hyper(server: &str) -> Ours {
    over(server, Arc::new(HyperTransport::builder().roots(Roots::Bundled).build().unwrap()))
}

fn over_reqwest(server: &str) -> Ours {
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
    let Ours { client, message } = over_hyper(server);
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
    measured(proc_fs::cpu("self"), began.elapsed(), messages)
}
