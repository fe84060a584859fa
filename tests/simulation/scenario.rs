//! A hundred nodes for about sixty apps, and all faults and events of one seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use wxsub_core::proto::AppId;
use wxsub_core::token::TokenEndpoint;
use wxsub_sandbox::Sandbox;

use super::faults::{FaultWindow, NetworkFault, draw_faults};
use super::network::{App, Network, Weixin};
use super::node::Node;
use super::node_clock::NodeClock;
use super::oracle::{Oracle, Summary};
use super::redis::Redis;
use super::schedule::{ScheduledEvent, draw_schedule};
use super::seeds::{in_virtual_time, join_all};
use super::store_faults::{StoreFault, StoreFaultWindow};
use super::store_link::StoreLink;

const NODES: usize = 100;
/// All faults end before this.
const FAULTS_END: Duration = Duration::from_secs(5 * 3600);
/// The end of the run. Before it, everything must work again.
const END: Duration = Duration::from_secs(5 * 3600 + 1800);

/// Runs one seed. `verbose` prints a trace.
pub(crate) fn run(seed: u64, verbose: bool) -> Summary {
    in_virtual_time(async {
        let clock = Arc::new(NodeClock::new());
        let oracle = Arc::new(Oracle::new(Arc::clone(&clock), verbose));
        let sandbox_clock = Arc::clone(&clock);
        let sandbox = Sandbox::with_clock(Arc::new(move || sandbox_clock.true_time()));
        let weixin = Weixin { sandbox, oracle: Arc::clone(&oracle) };
        let mut scenario =
            Scenario { rng: Rng::with_seed(seed), clock, weixin, tasks: JoinSet::new(), nodes: 0 };
        while scenario.nodes < NODES {
            scenario.add_app();
        }
        join_all(scenario.tasks, |panic| oracle.report_violation(panic)).await;
        oracle.summary()
    })
}

/// The nodes of one app.
struct AppGroup {
    size: usize,
    endpoint: TokenEndpoint,
    shares_store: bool,
}

struct Scenario {
    rng: Rng,
    clock: Arc<NodeClock>,
    weixin: Weixin,
    tasks: JoinSet<()>,
    nodes: usize,
}

impl Scenario {
    fn draw_app_group(&mut self) -> AppGroup {
        let endpoint = match self.rng.u8(0..3) {
            0 => TokenEndpoint::StableToken,
            _ => TokenEndpoint::Token,
        };
        match self.rng.u8(0..10) {
            // Two nodes that do not share a store invalidate each other's tokens.
            0 => AppGroup { size: 2, endpoint, shares_store: false },
            1 => AppGroup { size: self.rng.usize(2..5), endpoint, shares_store: true },
            _ => AppGroup { size: 1, endpoint, shares_store: self.rng.u8(0..10) == 0 },
        }
    }

    fn add_app(&mut self) {
        let AppGroup { size, endpoint, shares_store } = self.draw_app_group();
        let app = App::at(&self.weixin.sandbox, &format!("wx{:016x}", self.nodes), endpoint);
        let faults = draw_faults(&mut self.rng, FAULTS_END);
        // Nodes that share a store share a clock too, as all nodes do with the clock of a Redis server.
        let shared_clock = Arc::new(NodeClock::new());
        let store = shares_store.then(|| {
            let redis = Arc::new(Redis::new(Arc::clone(&self.clock), false));
            let outages = faults.iter().filter(|window| window.fault == NetworkFault::StoreUnavailable);
            let lost = [StoreFault::RequestsLost, StoreFault::ResponsesLost];
            let outage = |FaultWindow { from, to, .. }: &FaultWindow| StoreFaultWindow {
                from: *from,
                to: *to,
                fault: lost[self.rng.usize(0..2)],
            };
            let outages = outages.map(outage).collect();
            Arc::new(StoreLink::new(self.nodes, &shared_clock, &redis, outages, |_| {}, self.rng.fork()))
        });
        let schedules: Vec<_> = (0..size).map(|_| draw_schedule(&mut self.rng, FAULTS_END)).collect();
        let crash =
            |(at, what): &(Duration, ScheduledEvent)| matches!(what, ScheduledEvent::Crash(_)).then_some(*at);
        let crashes = Arc::new(schedules.iter().flatten().filter_map(crash).collect::<Vec<_>>());
        self.weixin.oracle.trace(|| format!("{app:?} {size} {faults:?} {schedules:?}"));
        for schedule in schedules {
            let number = self.nodes;
            self.nodes += 1;
            let clock = if shares_store { Arc::clone(&shared_clock) } else { Arc::new(NodeClock::new()) };
            for (at, event) in &schedule {
                self.start_event(*at, *event, &app.appid, number, &clock);
            }
            let network = Arc::new(Network {
                node: number,
                weixin: self.weixin.clone(),
                clock: Arc::clone(&clock),
                faults: faults.clone(),
                rng: Mutex::new(self.rng.fork()),
            });
            let node = Node {
                number,
                app: app.clone(),
                clock,
                network,
                store: store.clone(),
                is_only_node: size == 1,
                schedule,
                crashes: Arc::clone(&crashes),
                rng: self.rng.fork(),
                end: END,
            };
            self.tasks.spawn(node.run());
        }
    }

    /// Starts a task that causes the event at its time. Crashes happen in [`Node::run`].
    fn start_event(
        &mut self,
        at: Duration,
        event: ScheduledEvent,
        appid: &AppId,
        node: usize,
        clock: &Arc<NodeClock>,
    ) {
        let (weixin, appid, clock) = (self.weixin.clone(), appid.clone(), Arc::clone(clock));
        self.tasks.spawn(async move {
            clock.wait_until(at).await;
            weixin.oracle.trace(|| format!("{appid}: {event:?}"));
            match event {
                ScheduledEvent::Crash(_) => {}
                ScheduledEvent::ClockSet(by) => clock.set(by),
                ScheduledEvent::ExternalFetch(fetch) => {
                    weixin.oracle.token_invalidated(node);
                    weixin.fetch_externally(fetch, &appid);
                }
            }
        });
    }
}
