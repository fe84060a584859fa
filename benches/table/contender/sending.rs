//! Sends the message many times, some concurrently: our clients as an application uses them, and the bare libraries.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use wxsub_benches::subject;
use wxsub_core::Client;
use wxsub_core::transport::Transport;
use wxsub_hyper::HyperTransport;
use wxsub_reqwest::{ReqwestTransport, Roots};
use wxsub_test_support::proc_fs;

use super::bare;
use crate::process::Measured;

pub(super) fn run(name: &str, server: &str, in_flight: usize, messages: usize) -> Measured {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        match name {
            "sockets" => {
                let each = (0..in_flight).map(|_| bare::socket(server));
                under_load(join_all(each).await, messages).await
            }
            "hyper-connection" => {
                let each = (0..in_flight).map(|_| bare::connection(server));
                under_load(join_all(each).await, messages).await
            }
            "hyper-pool" => under_load(vec![bare::pool(server); in_flight], messages).await,
            "reqwest" => under_load(vec![bare::reqwest(server); in_flight], messages).await,
            "hyper-pool-by-hand" => under_load(vec![bare::pool_by_hand(server); in_flight], messages).await,
            "reqwest-by-hand" => under_load(vec![bare::reqwest_by_hand(server); in_flight], messages).await,
            "wxsub-hyper" => under_load(vec![ours(over_hyper(server)); in_flight], messages).await,
            "wxsub-reqwest" => under_load(vec![ours(over_reqwest(server)); in_flight], messages).await,
            _ => panic!("no contender is called {name}"),
        }
    })
}

/// Sends a tenth as warm-up, then all messages, from a task for each sender.
async fn under_load<S: AsyncFnMut() + 'static>(senders: Vec<S>, messages: usize) -> Measured {
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

async fn all_send<S: AsyncFnMut() + 'static>(senders: Vec<S>, each: usize) -> Vec<S> {
    let mut tasks = JoinSet::new();
    for mut sender in senders {
        tasks.spawn_local(async move {
            for _ in 0..each {
                sender().await;
            }
            sender
        });
    }
    tasks.join_all().await
}

fn over_hyper(server: &str) -> Client {
    over(server, Arc::new(HyperTransport::builder().roots(Roots::Bundled).build().unwrap()))
}

fn over_reqwest(server: &str) -> Client {
    over(server, Arc::new(ReqwestTransport::builder().roots(Roots::Bundled).build().unwrap()))
}

fn over(server: &str, transport: Arc<dyn Transport>) -> Client {
    let base = format!("http://{server}").parse().unwrap();
    Client::builder(subject::app(), subject::secret(), transport).api_base(base).build().unwrap()
}

fn ours(client: Client) -> impl AsyncFnMut() + Clone + 'static {
    let message = subject::message();
    async move || client.send(&message).await.unwrap()
}

/// The sends of `wxsub send --file`, on as many threads, without file, checks and results.
pub(super) fn send_all(server: &str, in_flight: usize, messages: usize) -> Measured {
    let (client, message) = (over_hyper(server), subject::message());
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
