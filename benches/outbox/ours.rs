//! The outbox on SQLite, and the client without an outbox.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tempfile::TempDir;
use wxsub_benches::subject::{app as appid, secret};
use wxsub_core::Client;
use wxsub_core::proto::codec::RawResponse;
use wxsub_core::transport::{HttpRequest, Transport, TransportError};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_outbox::grant::Subject;
use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::ledger::{Change, NewConsent};
use wxsub_outbox::{App, Ledger, Outbox, OutboxMessage, Outcomes};
use wxsub_sqlite::{SqliteLedger, SqliteOptions};

use crate::runtime;
use crate::subject::{grant, message};

/// How many messages are recorded at once, and sent at once over the instant transport.
const AT_ONCE: usize = 512;

/// What a run over the instant transport gives.
pub(crate) struct Throughput {
    /// Messages per second.
    pub(crate) rate: f64,
    /// Of the ledger, per message.
    pub(crate) bytes: f64,
}

/// A transport that answers at once.
pub(crate) async fn instantly(request: HttpRequest) -> Result<RawResponse<Bytes>, TransportError> {
    let body = match request.path() {
        "/cgi-bin/token" => r#"{"access_token":"T","expires_in":7200}"#,
        _ => r#"{"errcode":0,"errmsg":"ok"}"#,
    };
    Ok(RawResponse::new(200, Bytes::from_static(body.as_bytes())))
}

pub(crate) fn client(transport: impl Transport + 'static) -> Client {
    Client::builder(appid(), secret(), transport).build().unwrap()
}

fn over(server: &str) -> Client {
    let transport = HyperTransport::builder().roots(Roots::Bundled).build().unwrap();
    let base = format!("http://{server}").parse().unwrap();
    Client::builder(appid(), secret(), transport).api_base(base).build().unwrap()
}

pub(crate) fn app(client: Client, concurrency: usize) -> App {
    App::new(appid(), client).require_grant(true).concurrency(NonZeroUsize::new(concurrency).unwrap())
}

/// A ledger with so many consents.
async fn ledger(folder: &Path, consents: usize) -> SqliteLedger {
    let ledger = SqliteLedger::open(folder.join("ledger.db"), SqliteOptions::new()).await.unwrap();
    record_consents(&ledger, consents).await;
    ledger
}

pub(crate) async fn record_consents(ledger: &dyn Ledger, consents: usize) {
    let ids = IdGenerator::new(None);
    let all: Vec<_> = (0..consents).collect();
    for some in all.chunks(1024) {
        let consent = |number: &usize| {
            let (subject, grant) =
                (Subject::new(appid(), &grant(*number)), ids.grant(Default::default()).unwrap());
            Change::RecordConsent(Box::new(NewConsent { grant, subject, nonce: None }))
        };
        ledger.commit(some.iter().map(consent).collect()).await.unwrap();
    }
}

/// Waits until so many messages are settled.
pub(crate) async fn settled(outcomes: &mut Outcomes, messages: usize) {
    let mut settled = 0;
    while settled < messages {
        settled += match outcomes.next().await {
            Ok(_) => 1,
            Err(missed) => usize::try_from(missed.0).unwrap(),
        };
    }
}

/// Messages per second from the first enqueue to the last settlement. The first message has been sent before.
async fn rate(outbox: &Outbox, messages: usize, at_once: usize) -> f64 {
    let worker = outbox.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let working = tokio::spawn(async move { worker.run(async { drop(stopped.await) }).await });
    let first = outbox.enqueue(OutboxMessage::new(message(0))).await.unwrap();
    outbox.wait(first.id()).await.unwrap();
    let mut outcomes = outbox.outcomes();
    let sending = outbox.clone();
    let began = Instant::now();
    let enqueuing = tokio::spawn(async move {
        let sending = &sending;
        let enqueued =
            stream::iter(1..=messages).map(|number| sending.enqueue(OutboxMessage::new(message(number))));
        enqueued.buffer_unordered(at_once).for_each(async |receipt| drop(receipt.unwrap())).await;
    });
    settled(&mut outcomes, messages).await;
    let took = began.elapsed();
    enqueuing.await.unwrap();
    drop(stop);
    working.await.unwrap().unwrap();
    messages as f64 / took.as_secs_f64()
}

pub(crate) fn throughput(messages: usize) -> Throughput {
    let folder = TempDir::new().unwrap();
    let rate = runtime().block_on(send_all(folder.path(), messages));
    // The ledger is closed, and its log is in the file.
    let bytes = fs::metadata(folder.path().join("ledger.db")).unwrap().len();
    Throughput { rate, bytes: bytes as f64 / (messages + 1) as f64 }
}

async fn send_all(folder: &Path, messages: usize) -> f64 {
    let ledger = ledger(folder, messages + 1).await;
    let outbox = Outbox::builder(ledger).app(app(client(instantly), AT_ONCE)).build();
    let rate = rate(&outbox, messages, AT_ONCE).await;
    let app = outbox.ledger().app(&appid()).await.unwrap();
    assert_eq!(app.counts.values().sum::<u64>(), messages as u64 + 1);
    assert_eq!(app.counts.len(), 1, "not all were sent: {:?}", app.counts);
    rate
}

pub(crate) async fn over_http(server: &str, messages: usize, in_flight: usize) -> f64 {
    let folder = TempDir::new().unwrap();
    let ledger = ledger(folder.path(), messages + 1).await;
    let outbox = Outbox::builder(ledger).app(app(over(server), in_flight)).build();
    rate(&outbox, messages, AT_ONCE).await
}

pub(crate) async fn without_outbox(server: &str, messages: usize, in_flight: usize) -> f64 {
    let client = over(server);
    client.send(&message(0)).await.unwrap();
    let began = Instant::now();
    let messages_of_all = stream::iter((1..=messages).map(|number| (number, message(number))));
    let mut sent = client.send_all(messages_of_all, NonZeroUsize::new(in_flight).unwrap());
    while let Some((_, outcome)) = sent.next().await {
        outcome.unwrap();
    }
    messages as f64 / began.elapsed().as_secs_f64()
}

/// A message that was enqueued while the outbox had nothing to do.
pub(crate) struct IdleSample {
    /// How many commits there were until its POST.
    pub(crate) commits: f64,
    /// How long that took.
    pub(crate) nanos: f64,
}

/// Messages that are enqueued one after the other, each after a pause.
pub(crate) async fn idle(samples: usize) -> Vec<IdleSample> {
    let folder = TempDir::new().unwrap();
    let (commits, last) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
    let counted = commits.clone();
    let (seen, noted) = (commits.clone(), last.clone());
    // Notes the commits and the time of the last request.
    let transport = move |request| {
        *noted.lock().unwrap() = Some((seen.load(Ordering::Relaxed), Instant::now()));
        instantly(request)
    };
    let outbox = Outbox::builder(ledger(folder.path(), samples + 1).await)
        .on_commit(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .app(app(client(transport), 64))
        .build();
    let worker = outbox.clone();
    let working = tokio::spawn(async move { worker.run(std::future::pending()).await });
    let mut measured = Vec::new();
    for number in 0..=samples {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (before, began) = (commits.load(Ordering::Relaxed), Instant::now());
        let queued = outbox.enqueue(OutboxMessage::new(message(number))).await.unwrap();
        outbox.wait(queued.id()).await.unwrap();
        let (after, posted) = last.lock().unwrap().unwrap();
        measured
            .push(IdleSample { commits: (after - before) as f64, nanos: (posted - began).as_nanos() as f64 });
    }
    working.abort();
    // The first one fetched the token.
    measured.split_off(1)
}
