//! NOTIFY, a hint for the workers of other processes.

use std::collections::BTreeSet;
use std::future::poll_fn;

use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, NoTls};
use wxsub_outbox::Ledger;
use wxsub_outbox::id::MessageId;
use wxsub_outbox::ledger::{Change, NewMessage};
use wxsub_outbox::message::Settlement;
use wxsub_outbox::state::MessageState;
use wxsub_test_support::Postgres;

use super::fixture::{NOW, Process};
use super::machines::{Database, Machine, Weixin};
use super::proxy::Proxy;

/// A machine with a worker, and a process on another one that only queues messages.
struct Pair {
    database: Database,
    machine: Machine,
    other: Process,
}

impl Pair {
    async fn start(postgres: &Postgres, url: &str) -> Self {
        let (database, other) = (Database { sql: postgres.sql().await }, Process::start(postgres).await);
        let machine = Machine::start(url, &Weixin::new()).await;
        database.pass_until(&machine, async || database.live_workers().await == 2).await;
        let pair = Self { database, machine, other };
        // It fetches the token.
        let first = pair.enqueue("first").await;
        pair.pass_until_sent(first).await;
        pair
    }

    async fn enqueue(&self, user: &str) -> MessageId {
        self.other.enqueue(self.other.message(user)).await.unwrap().message().id
    }

    async fn pass_until_sent(&self, id: MessageId) {
        let is_sent = async || self.database.state(id).await == MessageState::Sent;
        self.database.pass_until(&self.machine, is_sent).await;
    }

    /// The machine's clock stands still.
    async fn wait_until_sent(&self, id: MessageId) {
        while self.database.state(id).await != MessageState::Sent {}
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_message_of_another_machine_is_claimed_before_the_next_poll() {
    let postgres = Postgres::start();
    let pair = Pair::start(&postgres, &postgres.url()).await;
    for user in ["a", "b", "c"] {
        let id = pair.enqueue(user).await;
        pair.wait_until_sent(id).await;
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_lost_notification_loses_no_message_and_the_next_one_arrives() {
    let postgres = Postgres::start();
    let proxy = Proxy::start(&postgres).await;
    let pair = Pair::start(&postgres, &proxy.url()).await;
    for round in 0..3 {
        proxy.set_down(true);
        let unnoticed = pair.enqueue(&format!("unnoticed{round}")).await;
        proxy.set_down(false);
        pair.pass_until_sent(unnoticed).await;
        let noticed = pair.enqueue(&format!("noticed{round}")).await;
        pair.wait_until_sent(noticed).await;
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn where_listen_is_refused_messages_are_found_by_polling() {
    let postgres = Postgres::start();
    let proxy = Proxy::start(&postgres).await;
    proxy.refuse_listen();
    let pair = Pair::start(&postgres, &proxy.url()).await;
    let id = pair.enqueue("o").await;
    pair.pass_until_sent(id).await;
}

/// The notifications of a database.
struct Notifications {
    client: tokio_postgres::Client,
    payloads: mpsc::UnboundedReceiver<String>,
}

impl Notifications {
    async fn of(postgres: &Postgres) -> Self {
        let (client, mut connection) = tokio_postgres::connect(&postgres.url(), NoTls).await.unwrap();
        let (sender, payloads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    sender.send(notification.payload().to_owned()).unwrap();
                }
            }
        });
        client.batch_execute("LISTEN wxsub_queued").await.unwrap();
        Self { client, payloads }
    }

    /// How many there were since the last call.
    async fn count(&mut self) -> usize {
        self.client.batch_execute("NOTIFY wxsub_queued, 'end'").await.unwrap();
        let mut count = 0;
        while self.payloads.recv().await.unwrap() != "end" {
            count += 1;
        }
        count
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_batch_notifies_once_and_only_if_an_app_had_nothing_due() {
    let postgres = Postgres::start();
    let process = Process::start(&postgres).await;
    let mut notifications = Notifications::of(&postgres).await;
    let of_app = |appid: &str, user: &str| {
        Change::Enqueue(Box::new(NewMessage { appid: appid.parse().unwrap(), ..process.message(user) }))
    };
    let commit = async |changes| drop(process.ledger.commit(changes).await.unwrap());
    assert_eq!(notifications.count().await, 0);
    commit((0..100).map(|user| of_app("wx1", &format!("user{user}"))).collect()).await;
    assert_eq!(notifications.count().await, 1);
    commit(vec![of_app("wx1", "more")]).await;
    assert_eq!(notifications.count().await, 0, "workers are at work");
    commit(vec![of_app("wx1", "more2"), of_app("wx2", "o"), of_app("wx3", "o")]).await;
    assert_eq!(notifications.count().await, 1, "other apps had nothing to do");
    let in_a_year = NOW + std::time::Duration::from_secs(10 * 365 * 86_400);
    let scheduled =
        NewMessage { appid: "wx4".parse().unwrap(), send_at: Some(in_a_year), ..process.message("o") };
    commit(vec![Change::Enqueue(Box::new(scheduled))]).await;
    assert_eq!(notifications.count().await, 0, "it is not due");
    commit(vec![of_app("wx4", "p")]).await;
    assert_eq!(notifications.count().await, 1, "the other message is due later");
    let claimed = process.claimed(1_000).await;
    assert_eq!(claimed.iter().map(|message| message.id).collect::<BTreeSet<_>>().len(), 102);
    commit(claimed.iter().map(|message| Process::settle(message, Settlement::Sent)).collect()).await;
    assert_eq!(notifications.count().await, 0);
    commit(vec![of_app("wx1", "next")]).await;
    assert_eq!(notifications.count().await, 1);
    assert_eq!(process.claimed(1_000).await.len(), 1);
    commit(vec![process.claim(1), of_app("wx5", "o"), of_app("wx1", "last")]).await;
    assert_eq!(notifications.count().await, 1, "the claim is one of wx1");
    assert_eq!(process.claimed(1_000).await.len(), 1);
    commit(vec![process.claim(1), of_app("wx1", "final")]).await;
    assert_eq!(notifications.count().await, 0, "the worker of this process looks for it");
}
