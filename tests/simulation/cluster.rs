//! Control servers that share the token of one app through one Redis, with all faults of a scenario.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use wxsub_core::token::TokenEndpoint;
use wxsub_sandbox::{AppSettings, Sandbox};

use super::fault_plan::{FaultPlan, RedisReturn, ServerPlan};
use super::invariants::Invariants;
use super::network::{App, Network, Weixin};
use super::node_clock::NodeClock;
use super::node_faults::{NodeFaults, Target};
use super::oracle::{Oracle, Summary};
use super::other_upstream;
use super::redis::Redis;
use super::seeds::{in_virtual_time, join_all};
use super::server::Server;
use super::store_link::StoreLink;

/// What one run simulates.
pub(crate) struct Scenario {
    pub(crate) endpoint: TokenEndpoint,
    /// The lifetime of a token.
    pub(crate) lifetime: Duration,
    /// Whether the servers share a Redis. Otherwise each is alone.
    pub(crate) has_store: bool,
    pub(crate) fault_plan: FaultPlan,
    /// Outside of these times, each send succeeds.
    pub(crate) busy: Vec<Range<Duration>>,
    /// All faults end before this.
    pub(crate) calm: Duration,
    /// The end of the run. Before it, everything must work again.
    pub(crate) end: Duration,
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) summary: Summary,
    /// How long after the last fault an invariant was still broken.
    pub(crate) unsettled: Duration,
    /// When a token was stored in Redis.
    pub(crate) store_times: Vec<Duration>,
    /// When a fault hit a server during its fetch.
    pub(crate) hits: Vec<Duration>,
    /// The time from the first to the last server, for each token.
    pub(crate) spreads: Vec<Duration>,
    /// How many scripts Redis has run.
    pub(crate) operations: u64,
}

impl Outcome {
    pub(crate) fn violations(&self) -> &[String] {
        &self.summary.violations
    }
}

/// Runs a scenario. `verbose` prints a trace.
pub(crate) fn run_scenario(scenario: Scenario, mut rng: Rng, verbose: bool) -> Outcome {
    in_virtual_time(async {
        let mut cluster = Cluster::new(&scenario, verbose);
        let node_faults = cluster.start(scenario, &mut rng);
        let tasks = std::mem::take(&mut cluster.tasks);
        join_all(tasks, |panic| cluster.oracle.report_violation(panic)).await;
        if cluster.invariants.redis.is_broken() {
            cluster.oracle.report_violation("a broken record was not replaced");
        }
        // Late requests have arrived by now.
        cluster.clock.sleep(Duration::from_secs(120)).await;
        let Invariants { weixin, redis, .. } = &*cluster.invariants;
        for openid in &*cluster.openids.lock().unwrap() {
            let received = weixin.sandbox.mailbox(&openid.parse().unwrap()).len();
            cluster.oracle.check_mailbox(openid, received);
        }
        let (redis, hits) = (redis.state(), node_faults.hits.lock().unwrap().clone());
        Outcome {
            summary: cluster.oracle.summary(),
            unsettled: cluster.invariants.unsettled(),
            store_times: redis.store_times.clone(),
            hits,
            spreads: cluster.invariants.spreads(),
            operations: redis.operations,
        }
    })
}

struct Cluster {
    clock: Arc<NodeClock>,
    oracle: Arc<Oracle>,
    invariants: Arc<Invariants>,
    app: App,
    has_store: bool,
    openids: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Cluster {
    fn new(scenario: &Scenario, verbose: bool) -> Self {
        let clock = Arc::new(NodeClock::new());
        let oracle = Arc::new(Oracle::new(Arc::clone(&clock), verbose));
        oracle.trace(|| {
            format!("{:?}, for {:?}: {:#?}", scenario.endpoint, scenario.lifetime, scenario.fault_plan)
        });
        let sandbox_clock = Arc::clone(&clock);
        let sandbox = Sandbox::with_clock(Arc::new(move || sandbox_clock.true_time()));
        let invariants = Arc::new(Invariants {
            clock: Arc::clone(&clock),
            oracle: Arc::clone(&oracle),
            weixin: Weixin { sandbox: sandbox.clone(), oracle: Arc::clone(&oracle) },
            redis: Arc::new(Redis::new(Arc::clone(&clock), true)),
            agrees: scenario.has_store || scenario.fault_plan.servers.len() == 1,
            busy: scenario.busy.clone(),
            calm: scenario.calm,
            settle_time: scenario.fault_plan.settle_time(),
            state: Mutex::default(),
        });
        let app = App::at(&sandbox, "wx0123456789abcdef", scenario.endpoint);
        let mut settings = AppSettings::default();
        settings.token_lifetime = scenario.lifetime;
        sandbox.configure(&app.appid, settings).unwrap();
        let (openids, tasks) = (Arc::default(), JoinSet::new());
        Self { clock, oracle, invariants, app, has_store: scenario.has_store, openids, tasks }
    }

    /// Does this at its time.
    fn at(&mut self, at: Duration, event: impl FnOnce(&Invariants) + Send + 'static) {
        let invariants = Arc::clone(&self.invariants);
        self.tasks.spawn(async move {
            invariants.clock.wait_until(at).await;
            event(&invariants);
        });
    }

    /// Plans the faults of Redis, and fetches of other programs.
    fn plan_events(&mut self, plan: &FaultPlan) {
        for (at, loses_generation) in plan.broken_records.iter().copied() {
            self.at(at, move |Invariants { redis, oracle, .. }| {
                oracle.trace(|| format!("the records break; their generations are lost: {loses_generation}"));
                redis.break_records(loses_generation);
            });
        }
        for (window, state) in &plan.redis {
            let state = *state;
            self.at(window.to, move |Invariants { redis, oracle, .. }| {
                oracle.trace(|| format!("Redis comes back: {state:?}"));
                match state {
                    RedisReturn::Unchanged => {}
                    RedisReturn::Empty => redis.restore(Duration::MAX),
                    RedisReturn::Older(by) => redis.restore(by),
                }
            });
        }
        for at in &plan.endless_leases {
            self.at(*at, |Invariants { redis, oracle, .. }| {
                oracle.trace(|| "leases without end".to_owned());
                redis.restore_endless_leases();
            });
        }
        for (at, fetch) in plan.external_fetches.iter().copied() {
            let appid = self.app.appid.clone();
            self.at(at, move |Invariants { weixin, oracle, .. }| {
                oracle.trace(|| format!("external fetch: {fetch:?}"));
                weixin.fetch_externally(fetch, &appid);
            });
        }
    }

    /// Starts the servers and all faults.
    fn start(&mut self, scenario: Scenario, rng: &mut Rng) -> Arc<NodeFaults> {
        self.plan_events(&scenario.fault_plan);
        let FaultPlan { fetch_faults, has_other_upstream, servers, .. } = scenario.fault_plan;
        let (mut targets, mut all_kills) = (Vec::new(), Vec::new());
        for plan in &servers {
            let (sender, kills) = unbounded_channel();
            let clock = Arc::new(NodeClock::new());
            clock.set(plan.skew);
            targets.push(Target { clock, kills: sender });
            all_kills.push(kills);
        }
        let node_faults = Arc::new(NodeFaults {
            clock: Arc::clone(&self.clock),
            oracle: Arc::clone(&self.oracle),
            redis: Arc::clone(&self.invariants.redis),
            targets,
            fetch_faults: Mutex::new(fetch_faults),
            hits: Mutex::default(),
            end: scenario.calm,
        });
        for (number, (plan, kills)) in servers.into_iter().zip(all_kills).enumerate() {
            for (at, fault) in plan.node_faults.iter().copied() {
                let node_faults = Arc::clone(&node_faults);
                self.at(at, move |_| node_faults.inject(number, fault));
            }
            let server = self.server(number, plan, &node_faults, scenario.end, rng);
            self.tasks.spawn(server.run(kills, rng.fork()));
        }
        if has_other_upstream {
            let invariants = Arc::clone(&self.invariants);
            self.tasks.spawn(other_upstream::run(self.app.clone(), invariants, scenario.end, rng.fork()));
        }
        node_faults
    }

    fn server(
        &self,
        number: usize,
        plan: ServerPlan,
        node_faults: &Arc<NodeFaults>,
        end: Duration,
        rng: &mut Rng,
    ) -> Server {
        let clock = Arc::clone(&node_faults.targets[number].clock);
        let network = Network {
            node: number,
            weixin: self.invariants.weixin.clone(),
            clock: Arc::clone(&clock),
            faults: plan.faults,
            rng: Mutex::new(rng.fork()),
        };
        let fetch_faults = Arc::clone(node_faults);
        let on_lease = move |could_read| fetch_faults.on_lease(number, could_read);
        let redis = &self.invariants.redis;
        let store = self
            .has_store
            .then(|| Arc::new(StoreLink::new(&clock, redis, plan.store_faults, on_lease, rng.fork())));
        Server {
            number,
            app: self.app.clone(),
            clock,
            network: Arc::new(network),
            store,
            reports: plan.reports,
            invariants: Arc::clone(&self.invariants),
            openids: Arc::clone(&self.openids),
            end,
        }
    }
}
