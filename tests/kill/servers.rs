//! Two control servers on one ledger in PostgreSQL. They and their database are killed at random times, while clients repeat their
//! requests until they have a response, and an endpoint gets webhooks.

mod clients;
mod process;
mod receiver;
mod verdict;

use std::sync::Arc;

use fastrand::Rng;
use tokio::task::JoinSet;

use super::arguments::Settings;
use super::orders::{pause, start_weixin};
use clients::{Client, Desk};
use process::{Kill, ServerFault, Servers};
use receiver::Receiver;
use verdict::ServersVerdict;

/// How many clients send at a time.
const CLIENTS: usize = 50;

/// How long the servers run until the next kill. A start takes less than the longest time and more than the shortest one.
const RUN_MILLIS: std::ops::Range<u64> = 100..1500;

/// How many kills are enough to find a planted fault.
const PLANTED_RUNS: u32 = 8;

/// Kills servers or the database `runs` times. Then plants each fault, and checks that it is found.
pub(crate) async fn run(Settings { runs, seed, .. }: Settings) {
    let verdict = kill_servers(runs, seed, None).await;
    println!("{verdict}");
    assert!(verdict.is_clean(), "seed {seed}");
    for fault in [ServerFault::Requeue, ServerFault::ForgetKeys, ServerFault::NewWebhookIds] {
        let verdict = kill_servers(PLANTED_RUNS, seed, Some(fault)).await;
        let is_found = match fault {
            ServerFault::Requeue => !verdict.ledger.duplicated.is_empty(),
            ServerFault::ForgetKeys => !verdict.false_responses.is_empty(),
            ServerFault::NewWebhookIds => !verdict.webhooks.is_empty(),
        };
        assert!(is_found, "the fault {fault:?} was not found: {verdict}");
        println!("planted fault found: {fault:?}");
    }
}

/// Kills under load, `runs` times. Returns what became of the messages.
async fn kill_servers(runs: u32, seed: u64, fault: Option<ServerFault>) -> ServersVerdict {
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
        let kill = match rng.u8(0..6) {
            0 => Kill::Both,
            1 => Kill::Database,
            number => Kill::One(usize::from(number % 2)),
        };
        pause(rng.u64(RUN_MILLIS)).await;
        servers.kill(kill).await;
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
    ServersVerdict::find(&servers, &journal, &desk.responses(), &receiver).await
}
