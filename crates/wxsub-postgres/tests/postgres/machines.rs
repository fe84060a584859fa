//! Outboxes with their workers on several machines: cut off from the database, with wrong clocks, with lost claims.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::testing::{ManualClock, MockResponse, MockTransport};
use wxsub_core::transport::{HttpRequest, Transport, TransportError};
use wxsub_outbox::id::MessageId;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{App, Outbox, OutboxError, OutboxMessage};
use wxsub_postgres::{PostgresLedger, PostgresOptions};
use wxsub_proto::codec::RawResponse;
use wxsub_proto::endpoint::{subscribe::PATH as SEND, token::PATH as TOKEN};
use wxsub_proto::{Grant, Message};
use wxsub_test_support::Postgres;

use super::fixture::{Process, appid};
use super::proxy::Proxy;

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Weixin accepts every message, unless it does not respond.
#[derive(Debug)]
pub(super) struct Weixin {
    mock: MockTransport,
    responds: watch::Sender<bool>,
    /// The messages that have arrived.
    arrived: watch::Sender<usize>,
}

impl Weixin {
    pub(super) fn new() -> Arc<Self> {
        let mock = MockTransport::new();
        mock.respond_always(TOKEN, MockResponse::json(r#"{"access_token":"T","expires_in":7200}"#));
        mock.respond_always(SEND, MockResponse::json(r#"{"errcode":0,"errmsg":"ok"}"#));
        Arc::new(Self { mock, responds: watch::Sender::new(true), arrived: watch::Sender::default() })
    }

    fn posts(&self) -> usize {
        *self.arrived.borrow()
    }
}

#[async_trait]
impl Transport for Weixin {
    async fn execute(&self, request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
        if request.path() == SEND {
            self.arrived.send_modify(|arrived| *arrived += 1);
            self.responds.subscribe().wait_for(|responds| *responds).await.unwrap();
        }
        self.mock.execute(request).await
    }
}

/// A machine with a clock of its own, and a process that runs an outbox.
pub(super) struct Machine {
    clock: Arc<ManualClock>,
    outbox: Outbox,
    worker: JoinHandle<Result<(), OutboxError>>,
}

impl Machine {
    pub(super) async fn start(url: &str, weixin: &Arc<Weixin>) -> Self {
        Self::with_clock(url, weixin, Arc::new(ManualClock::new())).await
    }

    async fn with_clock(url: &str, weixin: &Arc<Weixin>, clock: Arc<ManualClock>) -> Self {
        // The client's clock stands still, so that a POST under way is not given up.
        let client = wxsub_core::Client::builder(appid(), "SECRET", Arc::clone(weixin))
            .clock(Arc::new(ManualClock::new()));
        let ledger = PostgresLedger::connect(PostgresOptions::new(url)).await.unwrap();
        let app = App::new(appid(), client.build().unwrap()).require_grant(false);
        // A machine that posts a message claims no other one.
        let app = app.concurrency(NonZeroUsize::MIN);
        let outbox = Outbox::builder(ledger).app(app).clock(clock.clone()).build();
        let working = outbox.clone();
        let worker = tokio::spawn(async move { working.run(std::future::pending()).await });
        Self { clock, outbox, worker }
    }

    async fn enqueue(&self, message: OutboxMessage) -> MessageId {
        self.outbox.enqueue(message).await.unwrap().id()
    }
}

fn message(user: &str) -> OutboxMessage {
    let grant = Grant::assume_verified(user, "T", 7).unwrap();
    OutboxMessage::new(Message::builder(grant).title("Title").content("Text").build().unwrap())
}

/// Statements of the test.
pub(super) struct Database {
    pub(super) sql: Client,
}

impl Database {
    /// Lets time pass on this machine until the condition holds. While the machine writes, its clock stands still.
    pub(super) async fn pass_until(&self, machine: &Machine, holds: impl AsyncFn() -> bool) {
        loop {
            let mut written = machine.outbox.ledger().commit(Vec::new());
            while written.as_mut().now_or_never().is_none() {
                if holds().await {
                    return;
                }
                self.number("SELECT 1::bigint").await;
            }
            machine.clock.advance(Duration::from_millis(100));
        }
    }

    /// Its messages are due at once, also after a failure.
    async fn pass_until_sent(&self, machine: &Machine, id: MessageId) {
        self.pass_until(machine, async || {
            self.sql
                .batch_execute("UPDATE wxsub_message SET due_ms = 0 WHERE state = 'queued'")
                .await
                .unwrap();
            self.state(id).await == MessageState::Sent
        })
        .await;
    }

    pub(super) async fn number(&self, query: &str) -> i64 {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }

    pub(super) async fn state(&self, id: MessageId) -> MessageState {
        let query = "SELECT state FROM wxsub_message WHERE id = $1::text::uuid";
        self.sql.query_one(query, &[&id.to_string()]).await.unwrap().get::<_, &str>(0).parse().unwrap()
    }

    async fn history(&self, id: MessageId) -> Vec<String> {
        let query = "SELECT event FROM wxsub_event WHERE message_id = $1::text::uuid ORDER BY version";
        let events = self.sql.query(query, &[&id.to_string()]).await.unwrap();
        events.iter().map(|row| row.get(0)).collect()
    }

    pub(super) async fn live_workers(&self) -> i64 {
        self.number("SELECT count(*) FROM wxsub_worker WHERE gone_ms IS NULL").await
    }

    /// The last heartbeat of the worker that posts this message is longer ago than a lease.
    async fn end_lease_of_poster(&self, id: MessageId) {
        let update = "UPDATE wxsub_worker SET beat_ms = beat_ms - 61000
            WHERE id = (SELECT worker FROM wxsub_message WHERE id = $1::text::uuid)";
        assert_eq!(self.sql.execute(update, &[&id.to_string()]).await.unwrap(), 1);
    }

    /// Its clock.
    async fn now(&self) -> UnixMillis {
        let now = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        UnixMillis::new(self.number(now).await.try_into().unwrap())
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_worker_cut_off_while_its_post_is_out_reports_the_outcome_late() {
    let postgres = Postgres::start();
    let (database, proxy) = (Database { sql: postgres.sql().await }, Proxy::start(&postgres).await);
    let weixin = Weixin::new();
    let one = Machine::start(&proxy.url(), &weixin).await;
    weixin.responds.send_replace(false);
    let id = one.enqueue(message("o")).await;
    database.pass_until(&one, async || weixin.posts() == 1).await;
    let two = Machine::start(&postgres.url(), &weixin).await;
    database.pass_until(&two, async || database.live_workers().await == 2).await;
    proxy.set_down(true);
    database.end_lease_of_poster(id).await;
    database.pass_until(&two, async || database.state(id).await == MessageState::MaybeSent).await;
    // The response comes. The settlement is tried again and again.
    weixin.responds.send_replace(true);
    let cut_off_until = one.clock.now().mono + TEN_MINUTES;
    database.pass_until(&one, async || one.clock.now().mono >= cut_off_until).await;
    assert_eq!(database.state(id).await, MessageState::MaybeSent);
    proxy.set_down(false);
    database.pass_until(&one, async || database.state(id).await == MessageState::Sent).await;
    assert_eq!(database.history(id).await, ["enqueued", "claimed", "reclaimed", "sent"]);
    assert_eq!(weixin.posts(), 1);
    // It goes on, as another worker.
    two.worker.abort();
    let next = one.enqueue(message("next")).await;
    database.pass_until_sent(&one, next).await;
    let workers = database.number("SELECT count(*) FROM wxsub_worker").await;
    assert_eq!((weixin.posts(), workers), (2, 3));
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_message_whose_claim_had_no_reply_is_posted_once() {
    let postgres = Postgres::start();
    let (database, proxy) = (Database { sql: postgres.sql().await }, Proxy::start(&postgres).await);
    let (weixin, other) = (Weixin::new(), Process::start(&postgres).await);
    let one = Machine::start(&proxy.url(), &weixin).await;
    database.pass_until(&one, async || database.live_workers().await == 2).await;
    proxy.lose_reply_to_claim();
    let id = other.enqueue(other.message("o")).await.unwrap().message().id;
    database.pass_until(&one, async || proxy.has_lost_reply()).await;
    database.pass_until_sent(&one, id).await;
    assert_eq!(database.history(id).await, ["enqueued", "claimed", "requeued", "claimed", "sent"]);
    assert_eq!(weixin.posts(), 1);
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_message_whose_claim_was_terminated_is_posted_once() {
    let postgres = Postgres::start();
    let (database, blocking) = (Database { sql: postgres.sql().await }, postgres.sql().await);
    let (weixin, other) = (Weixin::new(), Process::start(&postgres).await);
    let one = Machine::start(&postgres.url(), &weixin).await;
    database.pass_until(&one, async || database.live_workers().await == 2).await;
    // Claims wait for their worker's row. A notification lets the worker claim at once.
    blocking.batch_execute("BEGIN; SELECT FROM wxsub_worker FOR UPDATE").await.unwrap();
    let id = other.enqueue(other.message("o")).await.unwrap().message().id;
    for _ in 0..5 {
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'wxsub' AND wait_event_type = 'Lock'";
        database.pass_until(&one, async || database.number(terminate).await > 0).await;
    }
    assert_eq!((weixin.posts(), database.state(id).await), (0, MessageState::Queued));
    blocking.batch_execute("ROLLBACK").await.unwrap();
    database.pass_until_sent(&one, id).await;
    assert_eq!(database.history(id).await, ["enqueued", "claimed", "sent"]);
    assert_eq!(weixin.posts(), 1);
}

/// Both are in one process: host name, process id and clock are the same.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn workers_on_copies_of_one_machine_are_two_workers() {
    let postgres = Postgres::start();
    let database = Database { sql: postgres.sql().await };
    let weixin = Weixin::new();
    weixin.responds.send_replace(false);
    let one = Machine::start(&postgres.url(), &weixin).await;
    let first = one.enqueue(message("first")).await;
    database.pass_until(&one, async || weixin.posts() == 1).await;
    let two = Machine::start(&postgres.url(), &weixin).await;
    let second = two.enqueue(message("second")).await;
    database.pass_until(&two, async || weixin.posts() == 2).await;
    assert_eq!(database.live_workers().await, 2);
    // One of them is killed.
    one.worker.abort();
    database.end_lease_of_poster(first).await;
    database.pass_until(&two, async || database.state(first).await == MessageState::MaybeSent).await;
    assert_eq!(database.state(second).await, MessageState::Attempting);
    weixin.responds.send_replace(true);
    database.pass_until_sent(&two, second).await;
    assert_eq!((weixin.posts(), database.state(first).await), (2, MessageState::MaybeSent));
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn clocks_of_machines_ten_minutes_off_change_nothing() {
    let postgres = Postgres::start();
    let database = Database { sql: postgres.sql().await };
    let (weixin, before) = (Weixin::new(), database.now().await);
    let set = |to: UnixMillis| {
        let clock = Arc::new(ManualClock::new());
        clock.set_forward(to.since(clock.now().wall));
        clock
    };
    let fast = Machine::with_clock(&postgres.url(), &weixin, set(before + TEN_MINUTES)).await;
    let slow = Machine::with_clock(&postgres.url(), &weixin, set(before.before(TEN_MINUTES))).await;
    let five_minutes = TEN_MINUTES / 2;
    for machine in [&fast, &slow] {
        let later = machine.enqueue(message("later").send_at(before + five_minutes)).await;
        let urgent = machine.enqueue(message("urgent").expires_at(before + five_minutes)).await;
        let due = machine.enqueue(message("due").send_at(before.before(five_minutes))).await;
        for id in [urgent, due] {
            database.pass_until(machine, async || database.state(id).await == MessageState::Sent).await;
        }
        assert_eq!(database.state(later).await, MessageState::Queued);
    }
    // Each beats; neither takes the other one for gone.
    for _ in 0..120 {
        for machine in [&fast, &slow] {
            let second = machine.clock.now().mono + Duration::from_secs(1);
            database.pass_until(machine, async || machine.clock.now().mono >= second).await;
        }
    }
    let after = database.now().await;
    let gone = database.number("SELECT count(*) FROM wxsub_worker WHERE gone_ms IS NOT NULL").await;
    assert_eq!((database.live_workers().await, gone, weixin.posts()), (2, 0, 4));
    let outside = format!(
        "SELECT count(*) FROM wxsub_event WHERE at_ms NOT BETWEEN {} AND {}",
        before.get(),
        after.get()
    );
    assert_eq!(database.number(&outside).await, 0);
}
