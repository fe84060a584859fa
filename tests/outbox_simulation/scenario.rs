//! One run: two processes, a ledger, an operator, Weixin.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wxsub_core::clock::Clock;
use wxsub_core::proto::AppId;
use wxsub_outbox::{MaybeSentPolicy, MemoryLedger};

use super::invariants;
use super::ledger_link::LedgerLink;
use super::node_clock::MachineClock;
use super::operator::{Operator, set_ledger_clock};
use super::oracle::{Account, Oracle};
use super::plan::{Plan, ProcessFault};
use super::process::{Order, Process};
use super::weixin::{Consents, Line};

const PROCESSES: usize = 2;

/// Plays one seed. `tells` prints what happens.
pub(crate) fn play(seed: u64, tells: bool) -> Account {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(seed, tells))
}

async fn run(seed: u64, tells: bool) -> Account {
    let mut dice = Rng::with_seed(seed);
    let plan = Arc::new(Plan::new(&mut dice, PROCESSES));
    let truth = Arc::new(MachineClock::new());
    let ledger_clock = Arc::new(MachineClock::new());
    let oracle = Arc::new(Oracle::new(Arc::clone(&truth), tells));
    oracle.tell(|| format!("{plan:#?}"));
    let ledger = Arc::new(MemoryLedger::with_clock(ledger_clock.clone()));
    let consents: Consents = Arc::new(Mutex::new(BTreeSet::new()));
    let appid: AppId = "wx0123456789abcdef".parse().unwrap();
    let orders = Arc::new(Mutex::new(
        (0..plan.messages).map(|number| order(&mut dice, number, &plan, &truth)).collect(),
    ));
    let policies =
        [MaybeSentPolicy::Hold, MaybeSentPolicy::Hold, MaybeSentPolicy::AssumeSent, MaybeSentPolicy::GiveUp];
    let policy = policies[dice.usize(0..policies.len())];
    let mut lives = JoinSet::new();
    for number in 0..PROCESSES {
        let clock = Arc::new(MachineClock::new());
        for (at, fault) in &plan.processes[number] {
            if let ProcessFault::Stop(length) = fault {
                clock.stand_still(*at..*at + *length);
            }
        }
        let kill = Arc::new(Notify::new());
        let link = Arc::new(LedgerLink {
            ledger: Arc::clone(&ledger),
            plan: Arc::clone(&plan),
            clock: Arc::clone(&clock),
            oracle: Arc::clone(&oracle),
            dice: Mutex::new(dice.fork()),
            kill: Arc::clone(&kill),
        });
        let line = Line {
            consents: Arc::clone(&consents),
            plan: Arc::clone(&plan),
            truth: Arc::clone(&truth),
            clock: Arc::clone(&clock),
            oracle: Arc::clone(&oracle),
            ledger: Arc::clone(&ledger),
            appid: appid.clone(),
            dice: Arc::new(Mutex::new(dice.fork())),
        };
        let process = Process {
            number,
            appid: appid.clone(),
            plan: Arc::clone(&plan),
            clock,
            link,
            line,
            consents: Arc::clone(&consents),
            oracle: Arc::clone(&oracle),
            orders: Arc::clone(&orders),
            policy,
            kill,
            dice: dice.fork(),
        };
        lives.spawn(process.live());
    }
    let operator = Operator {
        appid: appid.clone(),
        plan: Arc::clone(&plan),
        ledger: Arc::clone(&ledger),
        clock: Arc::clone(&truth),
        oracle: Arc::clone(&oracle),
        dice: dice.fork(),
    };
    lives.spawn(operator.act());
    lives.spawn(set_ledger_clock(Arc::clone(&plan), Arc::clone(&ledger_clock), Arc::clone(&oracle)));
    while let Some(life) = lives.join_next().await {
        if let Err(panic) = life {
            oracle.complain(&format!("panic: {panic}"));
        }
    }
    // What is slow has arrived by now.
    truth.sleep(Duration::from_secs(120)).await;
    invariants::check(&plan, &ledger, ledger_clock.now().wall, &appid, &oracle);
    std::mem::take(&mut oracle.noted().account)
}

/// A message for one of a few users, some of them for later, some only for a while.
fn order(dice: &mut Rng, number: u32, plan: &Plan, truth: &MachineClock) -> Order {
    let now = truth.now().wall;
    let within = |dice: &mut Rng| now.after(Duration::from_secs(dice.u64(0..plan.calm_from.as_secs())));
    let user = format!("o{}", dice.u8(0..12));
    let send_at = (dice.u8(0..6) == 0).then(|| within(dice));
    let expires_at = (dice.u8(0..6) == 0).then(|| within(dice));
    Order { number, user, send_at, expires_at }
}
