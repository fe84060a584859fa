//! One run: two processes, a ledger, an operator, Weixin.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wxsub_core::clock::Clock;
use wxsub_core::proto::AppId;
use wxsub_outbox::{MaybeSentPolicy, MemoryLedger};

use super::invariants;
use super::ledger_link::LedgerLink;
use super::node_clock::NodeClock;
use super::operator::{Operator, set_ledger_clock};
use super::oracle::{Account, Oracle};
use super::plan::{Plan, ProcessFault};
use super::process::{Order, Process};
use super::seeds::{in_virtual_time, join_all};
use super::weixin::{Consents, Line};

const PROCESSES: usize = 2;

/// Plays one seed. `trace` prints every event.
pub(crate) fn play(seed: u64, trace: bool) -> Account {
    in_virtual_time(run(seed, trace))
}

async fn run(seed: u64, trace: bool) -> Account {
    let mut dice = Rng::with_seed(seed);
    let plan = Arc::new(Plan::new(&mut dice, PROCESSES));
    let (truth, ledger_clock) = (Arc::new(NodeClock::new()), Arc::new(NodeClock::new()));
    let oracle = Arc::new(Oracle::new(Arc::clone(&truth), trace));
    oracle.trace(|| format!("{plan:#?}"));
    let orders = (0..plan.messages).map(|number| order(&mut dice, number, &plan, &truth)).collect();
    let policies =
        [MaybeSentPolicy::Hold, MaybeSentPolicy::Hold, MaybeSentPolicy::AssumeSent, MaybeSentPolicy::GiveUp];
    let world = World {
        appid: "wx0123456789abcdef".parse().unwrap(),
        plan,
        truth,
        oracle,
        ledger: Arc::new(MemoryLedger::with_clock(ledger_clock.clone())),
        consents: Arc::new(Mutex::new(BTreeSet::new())),
        orders: Arc::new(Mutex::new(orders)),
        policy: policies[dice.usize(0..policies.len())],
    };
    let mut lives = JoinSet::new();
    for number in 0..PROCESSES {
        lives.spawn(world.process(number, &mut dice).live());
    }
    lives.spawn(world.operator(&mut dice).act());
    let World { plan, oracle, .. } = &world;
    lives.spawn(set_ledger_clock(Arc::clone(plan), Arc::clone(&ledger_clock), Arc::clone(oracle)));
    join_all(lives, |panic| oracle.violation(panic)).await;
    // What is slow has arrived by now.
    world.truth.sleep(Duration::from_secs(120)).await;
    invariants::check(plan, &world.ledger, ledger_clock.now().wall, &world.appid, oracle);
    std::mem::take(&mut oracle.noted().account)
}

/// What the processes share.
struct World {
    appid: AppId,
    plan: Arc<Plan>,
    truth: Arc<NodeClock>,
    oracle: Arc<Oracle>,
    ledger: Arc<MemoryLedger>,
    consents: Consents,
    orders: Arc<Mutex<VecDeque<Order>>>,
    policy: MaybeSentPolicy,
}

impl World {
    fn process(&self, number: usize, dice: &mut Rng) -> Process {
        let clock = Arc::new(NodeClock::new());
        for (at, fault) in &self.plan.processes[number] {
            if let ProcessFault::Stop(length) = fault {
                clock.suspend(*at..*at + *length);
            }
        }
        let kill = Arc::new(Notify::new());
        let link = Arc::new(LedgerLink {
            ledger: Arc::clone(&self.ledger),
            plan: Arc::clone(&self.plan),
            clock: Arc::clone(&clock),
            oracle: Arc::clone(&self.oracle),
            dice: Mutex::new(dice.fork()),
            kill: Arc::clone(&kill),
        });
        let line = Line {
            consents: Arc::clone(&self.consents),
            plan: Arc::clone(&self.plan),
            truth: Arc::clone(&self.truth),
            clock: Arc::clone(&clock),
            oracle: Arc::clone(&self.oracle),
            ledger: Arc::clone(&self.ledger),
            appid: self.appid.clone(),
            dice: Arc::new(Mutex::new(dice.fork())),
            seed: dice.u64(..),
            calls: Arc::default(),
        };
        Process {
            number,
            appid: self.appid.clone(),
            plan: Arc::clone(&self.plan),
            clock,
            link,
            line,
            consents: Arc::clone(&self.consents),
            oracle: Arc::clone(&self.oracle),
            orders: Arc::clone(&self.orders),
            policy: self.policy,
            kill,
            dice: dice.fork(),
        }
    }

    fn operator(&self, dice: &mut Rng) -> Operator {
        Operator {
            appid: self.appid.clone(),
            plan: Arc::clone(&self.plan),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.truth),
            oracle: Arc::clone(&self.oracle),
            dice: dice.fork(),
        }
    }
}

/// A message for one of a few users, some of them for later, some only for a while.
fn order(dice: &mut Rng, number: u32, plan: &Plan, truth: &NodeClock) -> Order {
    let now = truth.now().wall;
    let within = |dice: &mut Rng| now + Duration::from_secs(dice.u64(0..plan.calm_from.as_secs()));
    let user = format!("o{}", dice.u8(0..12));
    let send_at = (dice.u8(0..6) == 0).then(|| within(dice));
    let expires_at = (dice.u8(0..6) == 0).then(|| within(dice));
    Order { number, user, send_at, expires_at }
}
