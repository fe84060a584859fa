//! One run: processes on several machines, a ledger, an inbox, an operator, Weixin.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
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
use super::ledger_link::CutOffs;
use super::node_clock::NodeClock;
use super::operator::{Operator, set_ledger_clock};
use super::oracle::{Account, Oracle};
use super::plan::{Plan, ProcessFault, Setup};
use super::process::{Order, Process};
use super::seeds::{in_virtual_time, join_all};

/// Plays one seed. `trace` prints every event.
pub(crate) fn play(setup: Setup, seed: u64, trace: bool) -> Account {
    in_virtual_time(run(setup, seed, trace))
}

async fn run(setup: Setup, seed: u64, trace: bool) -> Account {
    let mut dice = Rng::with_seed(seed);
    let plan = Plan::new(&mut dice, setup);
    let (truth, ledger_clock) = (Arc::new(NodeClock::new()), Arc::new(NodeClock::new()));
    let oracle = Oracle::new(Arc::clone(&truth), trace);
    oracle.trace(|| format!("{plan:#?}"));
    let orders = (0..plan.messages).map(|number| order(&mut dice, number, &plan, &truth)).collect();
    let policies =
        [MaybeSentPolicy::Hold, MaybeSentPolicy::Hold, MaybeSentPolicy::AssumeSent, MaybeSentPolicy::GiveUp];
    let world = Arc::new(World {
        appid: "wx0123456789abcdef".parse().unwrap(),
        plan,
        truth,
        oracle,
        ledger: MemoryLedger::with_clock(ledger_clock.clone()),
        ledger_clock,
        table: MemoryInbox::new(),
        poison: PoisonRows::default(),
        consents: Mutex::default(),
        orders: Mutex::new(orders),
        policy: policies[dice.usize(0..policies.len())],
    });
    let mut lives = JoinSet::new();
    for number in 0..setup.processes {
        lives.spawn(Process::new(Machine::new(&world, number), &mut dice).live());
    }
    if !setup.calm {
        lives.spawn(Operator { world: Arc::clone(&world), dice: dice.fork() }.act());
    }
    lives.spawn(set_ledger_clock(Arc::clone(&world)));
    join_all(lives, |panic| world.oracle.violation(panic)).await;
    // What is slow has arrived by now.
    world.truth.sleep(Duration::from_secs(120)).await;
    world.poison.check(&world.table, &world.oracle);
    invariants::check(&world);
    std::mem::take(&mut world.oracle.noted().account)
}

/// What all processes share.
pub(super) struct World {
    pub(super) appid: AppId,
    pub(super) plan: Plan,
    pub(super) truth: Arc<NodeClock>,
    pub(super) oracle: Oracle,
    pub(super) ledger: MemoryLedger,
    pub(super) ledger_clock: Arc<NodeClock>,
    pub(super) table: MemoryInbox,
    pub(super) poison: PoisonRows,
    /// The users whose consent is not used up.
    pub(super) consents: Mutex<BTreeSet<String>>,
    /// What all processes have to do.
    pub(super) orders: Mutex<VecDeque<Order>>,
    pub(super) policy: MaybeSentPolicy,
}

/// Where one process runs.
pub(super) struct Machine {
    pub(super) world: Arc<World>,
    /// The number of the process.
    pub(super) number: usize,
    /// The process's own clock, which may stand still.
    pub(super) clock: Arc<NodeClock>,
    pub(super) cut_offs: CutOffs,
    /// Ends the process.
    pub(super) kill: Notify,
}

impl Machine {
    fn new(world: &Arc<World>, number: usize) -> Self {
        let (clock, cut_offs) = (Arc::new(NodeClock::new()), CutOffs::default());
        clock.set(world.plan.ahead[number]);
        for (at, fault) in &world.plan.processes[number] {
            match fault {
                ProcessFault::Stop(length) => clock.suspend(*at..*at + *length),
                ProcessFault::CutOff(length) => cut_offs.add(*at..*at + *length),
                ProcessFault::Crash(_) | ProcessFault::ClockSet(_) => {}
            }
        }
        Self { world: Arc::clone(world), number, clock, cut_offs, kill: Notify::new() }
    }

    pub(super) async fn wait(&self, millis: u64) {
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    /// The process is killed in the middle of a call.
    pub(super) async fn end_of_process<T>(&self) -> T {
        self.kill.notify_one();
        pending().await
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
