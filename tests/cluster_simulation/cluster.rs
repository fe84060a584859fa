//! Control servers that share the token of one app through one Redis, with all faults of a scenario.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use wxsub_core::store::ChangeWatcher;
use wxsub_core::token::TokenEndpoint;
use wxsub_sandbox::{AppSettings, Sandbox};

use super::fault_plan::{ExternalFetch, FaultPlan, RedisReturn, ServerPlan};
use super::invariants::{Invariants, SETTLE_TIME, SETTLE_TIME_AFTER_REFUSAL};
use super::network::{Network, Weixin};
use super::node_clock::NodeClock;
use super::node_faults::{NodeFault, NodeFaults, Target};
use super::oracle::{Oracle, Summary};
use super::other_upstream;
use super::redis::Redis;
use super::seeds::{in_virtual_time, join_all};
use super::server::{App, Server};
use super::store_link::StoreLink;

/// What one run simulates.
pub(crate) struct Scenario {
    pub(crate) endpoint: TokenEndpoint,
    /// The lifetime of a token.
    pub(crate) lifetime: Duration,
    pub(crate) fault_plan: FaultPlan,
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
        for openid in &*cluster.openids.lock().unwrap() {
            let received = cluster.sandbox.mailbox(&openid.parse().unwrap()).len();
            cluster.oracle.check_mailbox(openid, received);
        }
        Outcome {
            summary: cluster.oracle.summary(),
            unsettled: cluster.invariants.unsettled(),
            store_times: cluster.invariants.redis.store_times(),
            hits: node_faults.hits(),
            spreads: cluster.invariants.spreads(),
            operations: cluster.invariants.redis.operations(),
        }
    })
}

struct Cluster {
    clock: Arc<NodeClock>,
    oracle: Arc<Oracle>,
    sandbox: Sandbox,
    invariants: Arc<Invariants>,
    app: App,
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
            sandbox: sandbox.clone(),
            redis: Arc::new(Redis::new(Arc::clone(&clock), true)),
            calm: scenario.calm,
            settle_time: if scenario.fault_plan.weixin_refuses() {
                SETTLE_TIME_AFTER_REFUSAL
            } else {
                SETTLE_TIME
            },
            state: Mutex::default(),
        });
        let app = App {
            appid: "wx0123456789abcdef".parse().unwrap(),
            secret: "sandbox-secret".parse().unwrap(),
            template: "TEMPLATE".parse().unwrap(),
            endpoint: scenario.endpoint,
        };
        sandbox.add_app(app.appid.clone(), app.secret.clone(), [app.template.clone()]);
        let mut settings = AppSettings::default();
        settings.token_lifetime = scenario.lifetime;
        sandbox.configure(&app.appid, settings).unwrap();
        Self { clock, oracle, sandbox, invariants, app, openids: Arc::default(), tasks: JoinSet::new() }
    }

    /// Starts the servers and all faults.
    fn start(&mut self, scenario: Scenario, rng: &mut Rng) -> Arc<NodeFaults> {
        let FaultPlan {
            redis,
            external_fetches,
            fetch_faults,
            endless_leases,
            broken_records,
            has_other_upstream,
            servers,
        } = scenario.fault_plan;
        for (at, loses_generation) in broken_records {
            self.break_records(at, loses_generation);
        }
        for (window, state) in redis {
            self.restore_redis(window.to, state);
        }
        for at in endless_leases {
            self.restore_endless_leases(at);
        }
        for (at, external_fetch) in external_fetches {
            self.fetch_externally(at, external_fetch);
        }
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
            for (at, fault) in &plan.node_faults {
                self.inject_at(*at, number, *fault, &node_faults);
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
            weixin: Weixin { sandbox: self.sandbox.clone(), oracle: Arc::clone(&self.oracle) },
            clock: Arc::clone(&clock),
            faults: plan.faults,
            rng: Mutex::new(rng.fork()),
        };
        let fetch_faults = Arc::clone(node_faults);
        let store = StoreLink {
            server: number,
            redis: Arc::clone(&self.invariants.redis),
            clock: Arc::clone(&clock),
            faults: plan.store_faults,
            on_lease: Box::new(move |could_read| fetch_faults.on_lease(number, could_read)),
            rng: Mutex::new(rng.fork()),
            watcher: Mutex::new(Arc::new(ChangeWatcher::new(clock.clone()))),
            connection: AtomicU64::default(),
        };
        Server {
            number,
            app: self.app.clone(),
            clock,
            network: Arc::new(network),
            store: Arc::new(store),
            reports: plan.reports,
            invariants: Arc::clone(&self.invariants),
            openids: Arc::clone(&self.openids),
            end,
        }
    }

    fn inject_at(&mut self, at: Duration, number: usize, fault: NodeFault, node_faults: &Arc<NodeFaults>) {
        let node_faults = Arc::clone(node_faults);
        self.tasks.spawn(async move {
            node_faults.clock.wait_until(at).await;
            node_faults.inject(number, fault);
        });
    }

    fn restore_redis(&mut self, at: Duration, state: RedisReturn) {
        let (redis, oracle) = (Arc::clone(&self.invariants.redis), Arc::clone(&self.oracle));
        self.tasks.spawn(async move {
            redis.clock.wait_until(at).await;
            oracle.trace(|| format!("Redis comes back: {state:?}"));
            match state {
                RedisReturn::Unchanged => {}
                RedisReturn::Empty => redis.restore(Duration::MAX),
                RedisReturn::Older(by) => redis.restore(by),
            }
        });
    }

    fn restore_endless_leases(&mut self, at: Duration) {
        let (redis, oracle) = (Arc::clone(&self.invariants.redis), Arc::clone(&self.oracle));
        self.tasks.spawn(async move {
            redis.clock.wait_until(at).await;
            oracle.trace(|| "leases without end".to_owned());
            redis.restore_endless_leases();
        });
    }

    fn break_records(&mut self, at: Duration, loses_generation: bool) {
        let (redis, oracle) = (Arc::clone(&self.invariants.redis), Arc::clone(&self.oracle));
        self.tasks.spawn(async move {
            redis.clock.wait_until(at).await;
            oracle.trace(|| format!("the records break; their generations are lost: {loses_generation}"));
            redis.break_records(loses_generation);
        });
    }

    fn fetch_externally(&mut self, at: Duration, external_fetch: ExternalFetch) {
        let (clock, oracle) = (Arc::clone(&self.clock), Arc::clone(&self.oracle));
        let (sandbox, appid) = (self.sandbox.clone(), self.app.appid.clone());
        self.tasks.spawn(async move {
            clock.wait_until(at).await;
            oracle.trace(|| format!("external fetch: {external_fetch:?}"));
            match external_fetch {
                ExternalFetch::Earlier => sandbox.invalidate_tokens(&appid).unwrap(),
                ExternalFetch::Now => {
                    let target = format!(
                        "/cgi-bin/token?grant_type=client_credential&appid={appid}&secret=sandbox-secret"
                    );
                    let reply = sandbox.handle("GET", &target, b"").outcome.unwrap();
                    oracle.response_issued(&target, &reply.body);
                }
            }
        });
    }
}
