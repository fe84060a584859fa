//! One run: processes on several machines, a ledger, an inbox, an operator, Weixin.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wxsub_core::clock::Clock;
use wxsub_core::proto::AppId;
use wxsub_outbox::testing::MemoryInbox;
use wxsub_outbox::{MaybeSentPolicy, MemoryLedger};

use super::inbox::PoisonRows;
use super::invariants;
use super::ledger_link::{CutOffs, LedgerLink};
use super::node_clock::NodeClock;
use super::operator::{Operator, set_ledger_clock};
use super::oracle::{Account, Oracle};
use super::plan::{Plan, ProcessFault, Setup};
use super::process::{Order, Process};
use super::seeds::{in_virtual_time, join_all};
use super::weixin::{Consents, Line};

/// Plays one seed. `trace` prints every event.
pub(crate) fn play(setup: Setup, seed: u64, trace: bool) -> Account {
    in_virtual_time(run(setup, seed, trace))
}

async fn run(setup: Setup, seed: u64, trace: bool) -> Account {
    let mut dice = Rng::with_seed(seed);
    let plan = Arc::new(Plan::new(&mut dice, setup));
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
        ledger_clock: Arc::clone(&ledger_clock),
        table: MemoryInbox::new(),
        poison: Arc::default(),
        consents: Arc::new(Mutex::new(BTreeSet::new())),
        orders: Arc::new(Mutex::new(orders)),
        policy: policies[dice.usize(0..policies.len())],
    };
    let mut lives = JoinSet::new();
    for number in 0..setup.processes {
        lives.spawn(world.process(number, &mut dice).live());
    }
    if !setup.calm {
        lives.spawn(world.operator(&mut dice).act());
    }
    let World { plan, oracle, .. } = &world;
    lives.spawn(set_ledger_clock(Arc::clone(plan), Arc::clone(&ledger_clock), Arc::clone(oracle)));
    join_all(lives, |panic| oracle.violation(panic)).await;
    // What is slow has arrived by now.
    world.truth.sleep(Duration::from_secs(120)).await;
    world.poison.check(&world.table, oracle);
    let stopped_for = world.truth.elapsed().saturating_sub(plan.end);
    invariants::check(plan, &world.ledger, ledger_clock.now().wall, stopped_for, &world.appid, oracle);
    std::mem::take(&mut oracle.noted().account)
}

/// What the processes share.
struct World {
    appid: AppId,
    plan: Arc<Plan>,
    truth: Arc<NodeClock>,
    oracle: Arc<Oracle>,
    ledger: Arc<MemoryLedger>,
    ledger_clock: Arc<NodeClock>,
    table: MemoryInbox,
    poison: Arc<PoisonRows>,
    consents: Consents,
    orders: Arc<Mutex<VecDeque<Order>>>,
    policy: MaybeSentPolicy,
}

impl World {
    fn process(&self, number: usize, dice: &mut Rng) -> Process {
        let (clock, cut_offs) = (Arc::new(NodeClock::new()), Arc::new(CutOffs::default()));
        let ahead = self.plan.ahead[number];
        clock.set(ahead);
        for (at, fault) in &self.plan.processes[number] {
            match fault {
                ProcessFault::Stop(length) => clock.suspend(*at..*at + *length),
                ProcessFault::CutOff(length) => cut_offs.add(*at..*at + *length),
                ProcessFault::Crash(_) | ProcessFault::ClockSet(_) => {}
            }
        }
        let kill = Arc::new(Notify::new());
        let link = Arc::new(LedgerLink {
            ledger: Arc::clone(&self.ledger),
            ledger_clock: Arc::clone(&self.ledger_clock),
            cut_offs: Arc::clone(&cut_offs),
            ahead,
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
            cut_offs,
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
            table: self.table.clone(),
            poison: Arc::clone(&self.poison),
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
