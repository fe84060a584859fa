//! One run of the process that is killed: it takes orders and sends what is in the ledger.

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wxsub_core::Client;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::token::TokenEndpoint;
use wxsub_outbox::grant::Subject;
use wxsub_outbox::inbox::InboxCopier;
use wxsub_outbox::ledger::{Change, MessageQuery, NewConsent};
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{App, Outbox, OutboxError, OutboxMessage};

use super::arguments::WorkerRun;
use super::crash_ledger::CrashLedger;
use super::database;
use super::inbox::Application;
use super::orders::{SECRET, appid, grant_id, is_row, is_synchronous, key, message, pause, weixin_grant};
use super::plan::{Fault, KillSwitch};
use super::tcp_transport::TcpTransport;

/// Runs until everything is sent, unless it is killed.
pub(crate) async fn run(run: WorkerRun) {
    if let Some(fault @ (Fault::Requeue | Fault::AssumeSent)) = run.fault {
        database::falsify(&run.ledger, fault).await;
    }
    let kill_switch = Arc::new(KillSwitch::new(run.point, run.passes, run.target));
    let ledger = database::open(&run.ledger).await;
    let ledger = Arc::new(CrashLedger { ledger, kill_switch: Arc::clone(&kill_switch), fault: run.fault });
    let client = Client::builder(
        appid(),
        SECRET,
        TcpTransport { address: run.address.clone(), kill_switch: Arc::clone(&kill_switch) },
    )
    .api_base("http://localhost".parse().unwrap())
    .token_cache(|cache| cache.endpoint(TokenEndpoint::StableToken))
    .build()
    .unwrap();
    let app = App::new(appid(), client).require_grant(true).concurrency(NonZeroUsize::new(3).unwrap());
    let outbox =
        Outbox::with_ledger(ledger.clone()).app(app).poll_interval(Duration::from_millis(20)).build();
    let application = Application::of(&run);
    let inbox = application.inbox(kill_switch, run.fault);
    let copying = tokio::spawn(InboxCopier::new(&outbox, inbox).run(std::future::pending()));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = outbox.clone();
    let worker = tokio::spawn(async move { running.run(async move { drop(stopped.await) }).await });
    for order in &run.orders {
        take(&outbox, *order, &run, &application).await;
    }
    wait_until_idle(&outbox, &application).await;
    copying.abort();
    stop.send(()).unwrap();
    worker.await.unwrap().unwrap();
}

/// Records the consent and the message, and says so.
async fn take(outbox: &Outbox, order: u32, run: &WorkerRun, application: &Application) {
    let acknowledge = || {
        println!("{order}");
        std::io::stdout().flush().unwrap();
    };
    if run.fault == Some(Fault::EarlyReply) {
        acknowledge();
    }
    let subject = Subject::new(appid(), &weixin_grant(order));
    let consent = NewConsent { grant: grant_id(order), subject, nonce: None };
    let consent = Change::RecordConsent(Box::new(consent));
    while outbox.ledger().commit(vec![consent.clone()]).await.is_err() {
        // The database was killed.
        pause(10).await;
    }
    if is_row(order) {
        while !application.insert(order).await {
            pause(10).await;
        }
        return acknowledge();
    }
    let record = async || match is_synchronous(order) {
        true => outbox.send(message(order), key(order)).await,
        false => outbox.enqueue(OutboxMessage::new(message(order)).idempotency_key(key(order))).await,
    };
    while let Err(error) = record().await {
        // Its first heartbeat is under way, or the database was killed. The key makes it safe to repeat.
        let passes =
            matches!(error, OutboxError::NotRunning | OutboxError::Ledger(_) | OutboxError::NotSettled(_));
        assert!(passes, "{error}");
        pause(10).await;
    }
    acknowledge();
}

/// Until nothing is queued or under way any more.
async fn wait_until_idle(outbox: &Outbox, application: &Application) {
    while !application.is_empty().await {
        pause(10).await;
    }
    loop {
        let Ok(app) = outbox.ledger().app(&appid()).await else {
            pause(10).await;
            continue;
        };
        let counts = app.counts;
        if counts.keys().all(|state| state.is_final()) || is_stuck(outbox).await {
            return;
        }
        pause(10).await;
    }
}

/// Whether only attempts are left that no task of this process has: a planted fault.
async fn is_stuck(outbox: &Outbox) -> bool {
    let now = SystemClock::new().now().wall;
    let old = |at| now.since(at) > Duration::from_secs(3);
    for state in [MessageState::Queued, MessageState::Attempting] {
        let unfinished = MessageQuery { state: Some(state), ..MessageQuery::new(appid()) };
        let Ok(unfinished) = outbox.ledger().messages(&unfinished).await else { return false };
        if !unfinished.iter().all(|message| message.attempted_at.is_some_and(old)) {
            return false;
        }
    }
    true
}
