//! Two control servers on one ledger in PostgreSQL. They and their database are killed at random times, while clients repeat their
//! requests until they have an answer, and an endpoint gets webhooks.

mod clients;
mod process;
mod receiver;
mod verdict;

use std::sync::Arc;

use fastrand::Rng;
use tokio::task::JoinSet;

use super::arguments::Sitting;
use super::orders::{pause, start_weixin};
use clients::{Client, Desk};
use process::{Blow, ServerFault, Servers};
use receiver::Receiver;
use verdict::ServersVerdict;

/// How many clients send at a time.
const CLIENTS: usize = 50;

/// How long the servers live until the next kill. A start takes less than the longest time and more than the shortest one.
const LIFE_MILLIS: std::ops::Range<u64> = 100..1500;

/// How many kills are enough to find a planted fault.
const PLANTED_RUNS: u32 = 8;

/// Kills a server or the database so many times; then plants each fault and checks that it is found.
pub(crate) async fn run(Sitting { runs, seed, .. }: Sitting) {
    let verdict = sit(runs, seed, None).await;
    println!("{verdict}");
    assert!(verdict.is_clean(), "seed {seed}");
    for fault in [ServerFault::Requeue, ServerFault::ForgetKeys, ServerFault::NewWebhookIds] {
        let verdict = sit(PLANTED_RUNS, seed, Some(fault)).await;
        let is_found = match fault {
            ServerFault::Requeue => !verdict.ledger.duplicated.is_empty(),
            ServerFault::ForgetKeys => !verdict.false_responses.is_empty(),
            ServerFault::NewWebhookIds => !verdict.webhooks.is_empty(),
        };
        assert!(is_found, "the fault {fault:?} was not found: {verdict}");
        println!("planted fault found: {fault:?}");
    }
}

/// So many kills under load, and what became of the messages.
async fn sit(runs: u32, seed: u64, fault: Option<ServerFault>) -> ServersVerdict {
    let (folder, mut rng) = (tempfile::tempdir().unwrap(), Rng::with_seed(seed));
    let journal = folder.path().join("journal");
    let (sandbox, weixin) = start_weixin(&journal).await;
    let receiver = Receiver::start(rng.fork()).await;
    let mut servers = Servers::start(folder, &weixin, &receiver, fault).await;
    let desk = Arc::new(Desk::new(sandbox, &servers));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(Client::new(Arc::clone(&desk), rng.fork()).run());
    }
    for run in 0..runs {
        let blow = match rng.u8(0..6) {
            0 => Blow::Both,
            1 => Blow::Database,
            number => Blow::One(usize::from(number % 2)),
        };
        pause(rng.u64(LIFE_MILLIS)).await;
        servers.kill(blow).await;
        if (run + 1).is_multiple_of(50) {
            println!("{} of {runs} runs", run + 1);
        }
    }
    desk.close();
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    receiver.be_reliable();
    servers.wait_until_idle().await;
    let journal = std::fs::read(journal).unwrap();
    ServersVerdict::find(&servers, &journal, &desk.answers(), &receiver).await
}
