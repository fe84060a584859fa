//! One process: an application that records consents and messages, and the worker beside it; killed now and then.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{join_all, join4};
use wxsub_core::clock::UnixMillis;
use wxsub_core::consent::SigningKey;
use wxsub_core::proto::{ConsentCallback, Grant, Message, OpenId, Scene, TemplateId};
use wxsub_core::{Client, ConsentVerifier};
use wxsub_outbox::id::MessageId;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_outbox::inbox::InboxCopier;
use wxsub_outbox::ledger::NotRecorded;
use wxsub_outbox::{App, Ledger, LedgerError, Outbox, OutboxError, OutboxMessage};

use super::inbox::{self, InboxLink};
use super::ledger_link::LedgerLink;
use super::oracle::Oracle;
use super::plan::ProcessFault;
use super::scenario::{Node, Scenario};
use super::weixin::Network;

/// A message that an application wants to be sent. It asks again until it knows.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) number: u32,
    pub(super) user: String,
    pub(super) send_at: Option<UnixMillis>,
    pub(super) expires_at: Option<UnixMillis>,
}

pub(super) struct Process {
    node: Arc<Node>,
    link: Arc<LedgerLink>,
    network: Network,
    rng: Rng,
}

impl Process {
    pub(super) fn new(node: Node, rng: &mut Rng) -> Self {
        let node = Arc::new(node);
        let link = Arc::new(LedgerLink { node: Arc::clone(&node), rng: Mutex::new(rng.fork()) });
        let network = Network::new(Arc::clone(&node), rng);
        Self { node, link, network, rng: rng.fork() }
    }

    /// Runs until the end, in as many starts as it takes.
    pub(super) async fn run(mut self) {
        let crash = |(at, fault): &(Duration, ProcessFault)| match fault {
            ProcessFault::Crash(pause) => Some((*at, *pause)),
            ProcessFault::Stop(_) | ProcessFault::CutOff(_) | ProcessFault::ClockSet(_) => None,
        };
        let mut crashes: VecDeque<_> = self.faults().iter().filter_map(crash).collect();
        let Node { scenario, number, clock, kill, .. } = &*Arc::clone(&self.node);
        while clock.elapsed() < scenario.plan.end {
            let rng = self.rng.fork();
            let next_crash = crashes.front().map_or(Duration::MAX / 4, |(at, _)| *at);
            let pause = tokio::select! {
                biased;
                () = kill.notified() => Duration::from_secs(rng.clone().u64(1..60)),
                () = clock.wait_until(next_crash), if !crashes.is_empty() => crashes.pop_front().unwrap().1,
                () = self.work(rng.clone()) => return,
            };
            scenario.oracle.crashed(*number);
            clock.sleep(pause).await;
        }
    }

    fn faults(&self) -> &[(Duration, ProcessFault)] {
        &self.node.scenario.plan.processes[self.node.number]
    }

    /// One start of the process.
    async fn work(&self, mut rng: Rng) {
        let Node { scenario, clock, .. } = &*self.node;
        let transport = Arc::new(self.network.clone());
        let (seed, cache_seed) = (rng.u64(..), rng.u64(..));
        let client = Client::builder(scenario.appid.clone(), "SECRET", transport)
            .api_base("http://localhost".parse().unwrap())
            .clock(clock.clone())
            .rng_seed(seed)
            .token_cache(|cache| cache.jitter_seed(cache_seed))
            .build()
            .unwrap();
        let app = App::new(scenario.appid.clone(), client)
            .concurrency(NonZeroUsize::new(4).unwrap())
            .require_grant(true)
            .maybe_sent(scenario.policy);
        let ledger: Arc<dyn Ledger> = self.link.clone();
        let outbox = Outbox::with_ledger(ledger)
            .app(app)
            .clock(clock.clone())
            .id_seed(rng.u64(..))
            .poll_interval(Duration::from_secs(5))
            .build();
        let end = clock.wait_until(scenario.plan.end);
        let run = async {
            outbox.run(end).await.unwrap();
        };
        let inbox = InboxLink {
            table: scenario.table.clone(),
            node: Arc::clone(&self.node),
            rng: Mutex::new(rng.fork()),
            is_lost: false,
        };
        let copier = InboxCopier::new(&outbox, inbox);
        let copy = copier.run(clock.wait_until(scenario.plan.end));
        join4(run, copy, self.take_orders(&outbox, rng.fork()), self.set_clocks()).await;
    }

    async fn set_clocks(&self) {
        let Node { scenario, number, clock, .. } = &*self.node;
        for (at, fault) in self.faults() {
            if *at > clock.elapsed() {
                clock.wait_until(*at).await;
                if let ProcessFault::ClockSet(seconds) = fault {
                    scenario.oracle.trace(|| format!("the clock of process {number} is set by {seconds} s"));
                    clock.set(*seconds);
                }
            }
        }
    }

    async fn take_orders(&self, outbox: &Outbox, mut rng: Rng) {
        let Node { scenario, clock, .. } = &*self.node;
        let verifier = ConsentVerifier::new(scenario.appid.clone(), SigningKey::new(&[7; 32]).unwrap())
            .clock(clock.clone());
        while clock.elapsed() < scenario.plan.calm_from + Duration::from_secs(300) {
            self.node.wait(rng.u64(100..90_000)).await;
            let Some(order) = scenario.orders.lock().unwrap().pop_front() else { continue };
            // An order is not lost with its process.
            let held = Held { orders: &scenario.orders, order: Some(order) };
            if rng.u8(0..4) > 0 {
                self.consent(outbox, &verifier, &held.order().user, rng.bool()).await;
            }
            match held.order().number % 3 {
                0 => self.insert(held, &mut rng).await,
                _ => self.enqueue(outbox, held).await,
            }
        }
    }

    /// The application's transaction has a row for the inbox. Some applications repeat it, and some rows are wrong.
    async fn insert(&self, mut held: Held<'_>, rng: &mut Rng) {
        let order = held.order().clone();
        let Scenario { appid, table, poison, oracle, .. } = &*self.node.scenario;
        let row = inbox::row(order.number, message(&order), appid);
        if rng.u8(0..4) == 0 {
            table.insert(poison.spoil(&row, rng));
        }
        table.insert(row.clone());
        oracle.acknowledged(order.number, inbox::id_of(order.number));
        held.order = None;
        if rng.u8(0..3) == 0 {
            self.node.wait(rng.u64(1..20_000)).await;
            table.insert(row);
        }
    }

    /// The user consents, and the callback comes once, or twice at the same time.
    async fn consent(&self, outbox: &Outbox, verifier: &ConsentVerifier, user: &str, twice: bool) {
        let request = verifier.issue("T".parse().unwrap(), Scene::new(7).unwrap(), user).unwrap();
        let Scenario { consents, oracle, .. } = &*self.node.scenario;
        consents.lock().unwrap().insert(user.to_owned());
        let reserved = request.reserved.unwrap();
        let callback = format!(
            "https://a.example/?openid={user}&template_id=T&action=confirm&scene=7&reserved={reserved}"
        );
        let callback: ConsentCallback = callback.parse().unwrap();
        let Ok(verified) = verifier.verify(&callback, user) else { return };
        let callbacks = (0..=u8::from(twice)).map(|_| outbox.record_consent(&verified));
        let recorded = join_all(callbacks).await;
        oracle.trace(|| format!("{user} consents: {recorded:?}"));
    }

    async fn enqueue(&self, outbox: &Outbox, held: Held<'_>) {
        let order = held.order().clone();
        let message = message(&order);
        let key = IdempotencyKey::new(format!("order-{}", order.number)).unwrap();
        if order.send_at.is_none() && order.expires_at.is_none() && order.number.is_multiple_of(4) {
            let sent = outbox.send(message, key).await.map(|receipt| receipt.id());
            return self.note(held, sent, true);
        }
        let mut message = OutboxMessage::new(message).idempotency_key(key);
        if let Some(at) = order.send_at {
            message = message.send_at(at);
        }
        if let Some(at) = order.expires_at {
            message = message.expires_at(at);
        }
        let queued = outbox.enqueue(message).await.map(|queued| queued.id());
        self.note(held, queued, false);
    }

    /// An order is done when its message is recorded, or cannot be. Otherwise it must be repeated.
    fn note(&self, mut held: Held<'_>, recorded: Result<MessageId, OutboxError>, at_once: bool) {
        let number = held.order().number;
        match recorded {
            Ok(id) => {
                held.order = None;
                self.oracle().acknowledged(number, id);
            }
            Err(OutboxError::NotRecorded(NotRecorded::Paused | NotRecorded::WorkerGone)) if at_once => {}
            Err(OutboxError::NotRunning | OutboxError::NotSettled(_)) if at_once => {}
            Err(OutboxError::NotRecorded(why)) => {
                held.order = None;
                self.oracle().trace(|| format!("message {number} is not recorded: {why}"));
            }
            Err(OutboxError::Ledger(LedgerError::Unavailable(_) | LedgerError::Unknown(_))) => {}
            Err(error) => self.oracle().violation(&format!("message {number}: {error}")),
        }
    }

    fn oracle(&self) -> &Oracle {
        &self.node.scenario.oracle
    }
}

/// Its content is its number.
fn message(order: &Order) -> Message {
    let openid: OpenId = order.user.parse().unwrap();
    let template: TemplateId = "T".parse().unwrap();
    let grant = Grant::assume_verified(openid, template, 7).unwrap();
    Message::builder(grant).title("Title").content(order.number.to_string()).build().unwrap()
}

/// An order that goes back to the others if its process ends, or if it must be repeated.
struct Held<'a> {
    orders: &'a Mutex<VecDeque<Order>>,
    order: Option<Order>,
}

impl Held<'_> {
    fn order(&self) -> &Order {
        self.order.as_ref().unwrap()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(order) = self.order.take() {
            self.orders.lock().unwrap().push_back(order);
        }
    }
}
