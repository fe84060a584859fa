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
use super::oracle::{Oracle, Summary};
use super::plan::{Plan, ProcessFault, Setup};
use super::process::{Order, Process};
use super::seeds::{in_virtual_time, join_all};

/// Runs one seed. `trace` prints every event.
pub(crate) fn run_seed(setup: Setup, seed: u64, trace: bool) -> Summary {
    in_virtual_time(run(setup, seed, trace))
}

async fn run(setup: Setup, seed: u64, trace: bool) -> Summary {
    let mut rng = Rng::with_seed(seed);
    let plan = Plan::new(&mut rng, setup);
    let (true_clock, ledger_clock) = (Arc::new(NodeClock::new()), Arc::new(NodeClock::new()));
    let oracle = Oracle::new(Arc::clone(&true_clock), trace);
    oracle.trace(|| format!("{plan:#?}"));
    let orders = (0..plan.messages).map(|number| order(&mut rng, number, &plan, &true_clock)).collect();
    let policies =
        [MaybeSentPolicy::Hold, MaybeSentPolicy::Hold, MaybeSentPolicy::AssumeSent, MaybeSentPolicy::GiveUp];
    let scenario = Arc::new(Scenario {
        appid: "wx0123456789abcdef".parse().unwrap(),
        plan,
        true_clock,
        oracle,
        ledger: MemoryLedger::with_clock(ledger_clock.clone()),
        ledger_clock,
        table: MemoryInbox::new(),
        poison: PoisonRows::default(),
        consents: Mutex::default(),
        orders: Mutex::new(orders),
        policy: policies[rng.usize(0..policies.len())],
    });
    let mut tasks = JoinSet::new();
    for number in 0..setup.processes {
        tasks.spawn(Process::new(Node::new(&scenario, number), &mut rng).run());
    }
    if !setup.calm {
        tasks.spawn(Operator { scenario: Arc::clone(&scenario), rng: rng.fork() }.act());
    }
    tasks.spawn(set_ledger_clock(Arc::clone(&scenario)));
    join_all(tasks, |panic| scenario.oracle.violation(panic)).await;
    // What is slow has arrived by now.
    scenario.true_clock.sleep(Duration::from_secs(120)).await;
    scenario.poison.check(&scenario.table, &scenario.oracle);
    invariants::check(&scenario);
    std::mem::take(&mut scenario.oracle.noted().summary)
}

/// What all processes share.
pub(super) struct Scenario {
    pub(super) appid: AppId,
    pub(super) plan: Plan,
    pub(super) true_clock: Arc<NodeClock>,
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
pub(super) struct Node {
    pub(super) scenario: Arc<Scenario>,
    /// The number of the process.
    pub(super) number: usize,
    /// The process's own clock, which may stand still.
    pub(super) clock: Arc<NodeClock>,
    pub(super) cut_offs: CutOffs,
    /// Ends the process.
    pub(super) kill: Notify,
}

impl Node {
    fn new(scenario: &Arc<Scenario>, number: usize) -> Self {
        let (clock, cut_offs) = (Arc::new(NodeClock::new()), CutOffs::default());
        clock.set(scenario.plan.ahead[number]);
        for (at, fault) in &scenario.plan.processes[number] {
            match fault {
                ProcessFault::Stop(length) => clock.suspend(*at..*at + *length),
                ProcessFault::CutOff(length) => cut_offs.add(*at..*at + *length),
                ProcessFault::Crash(_) | ProcessFault::ClockSet(_) => {}
            }
        }
        Self { scenario: Arc::clone(scenario), number, clock, cut_offs, kill: Notify::new() }
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
fn order(rng: &mut Rng, number: u32, plan: &Plan, true_clock: &NodeClock) -> Order {
    let now = true_clock.now().wall;
    let within = |rng: &mut Rng| now + Duration::from_secs(rng.u64(0..plan.calm_from.as_secs()));
    let user = format!("o{}", rng.u8(0..12));
    let send_at = (rng.u8(0..6) == 0).then(|| within(rng));
    let expires_at = (rng.u8(0..6) == 0).then(|| within(rng));
    Order { number, user, send_at, expires_at }
}
