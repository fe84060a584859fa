//! Sends the message many times, some concurrently, on one thread.

use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::{bare, ours};
use crate::measured::Measured;
use crate::proc_fs;

pub(super) fn run(name: &str, server: &str, in_flight: usize, messages: usize) -> Measured {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        match name {
            "sockets" => under_load(in_flight, messages, async || bare::Socket::open(server).await).await,
            "hyper-connection" => {
                under_load(in_flight, messages, async || bare::Connection::open(server).await).await
            }
            "hyper-pool" => {
                let pool = bare::Pool::new(server);
                under_load(in_flight, messages, async || pool.clone()).await
            }
            "reqwest" => {
                let client = bare::Reqwest::new(server);
                under_load(in_flight, messages, async || client.clone()).await
            }
            "hyper-pool-by-hand" => {
                let pool = bare::PoolByHand::new(server);
                under_load(in_flight, messages, async || pool.clone()).await
            }
            "reqwest-by-hand" => {
                let client = bare::ReqwestByHand::new(server);
                under_load(in_flight, messages, async || client.clone()).await
            }
            "wxsub-hyper" => {
                let client = ours::over_hyper(server);
                under_load(in_flight, messages, async || client.clone()).await
            }
            "wxsub-reqwest" => {
                let client = ours::over_reqwest(server);
                under_load(in_flight, messages, async || client.clone()).await
            }
            _ => panic!("no contender is called {name}"),
        }
    })
}

/// A contender that can send the message.
pub(super) trait Sender: Send + 'static {
    fn send(&mut self) -> impl Future<Output = ()> + Send;
}

/// Sends a tenth as warm-up, then all messages, from as many tasks as messages are in flight.
async fn under_load<S: Sender>(in_flight: usize, messages: usize, sender: impl AsyncFn() -> S) -> Measured {
    let mut senders = Vec::new();
    for _ in 0..in_flight {
        senders.push(sender().await);
    }
    let each = messages.div_ceil(in_flight);
    senders = all_send(senders, each.div_ceil(10)).await;
    let (cpu, began) = (proc_fs::cpu("self"), Instant::now());
    all_send(senders, each).await;
    let (cpu, took) = (proc_fs::cpu("self") - cpu, began.elapsed());
    let sent = (each * in_flight) as f64;
    Measured {
        cpu: cpu.as_nanos() as f64 / sent,
        rate: sent / took.as_secs_f64(),
        resident: proc_fs::resident("self").unwrap() as f64,
        peak: proc_fs::peak("self").unwrap() as f64,
        count: sent,
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

/// The check that every bare client makes.
pub(super) fn check(status: u16, body: &Bytes) {
    assert!(status == 200 && body.starts_with(b"{\"errcode\":0"), "{status}");
}
