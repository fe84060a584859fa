//! Control servers that keep one app through one Redis, and everything that happens to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Builder;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use wxsub_core::token::TokenEndpoint;
use wxsub_sandbox::{AppSettings, Sandbox};

use super::fault_plan::{Fate, Lot, Return, Stranger};
use super::invariants::{Judge, SETTLE, SETTLE_REFUSED};
use super::network::{Line, Weixin};
use super::node_clock::MachineClock;
use super::node_faults::{Blow, Blows, Target};
use super::oracle::{Account, Witness};
use super::redis::Redis;
use super::server::{App, Server};
use super::store_link::StoreLink;

/// What is to be played.
pub(crate) struct Play {
    pub(crate) endpoint: TokenEndpoint,
    /// How long a token lives.
    pub(crate) life: Duration,
    pub(crate) fate: Fate,
    /// Trouble begins and ends before this.
    pub(crate) calm: Duration,
    /// Then everything must work again.
    pub(crate) end: Duration,
}

/// What has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) account: Account,
    /// How long after the last trouble the servers did not agree.
    pub(crate) unsettled: Duration,
    /// When Redis was given a token.
    pub(crate) stored: Vec<Duration>,
    /// When a server was hit in the middle of its fetch.
    pub(crate) ambushed: Vec<Duration>,
    /// How long each token took from the first server that held it to the last.
    pub(crate) spreads: Vec<Duration>,
    /// How many scripts Redis has run.
    pub(crate) operations: u64,
}

/// Plays it. `tells` prints what happens.
pub(crate) fn run(play: Play, mut dice: Rng, tells: bool) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut cluster = Cluster::new(&play, tells);
        let blows = cluster.happen(play, &mut dice);
        while let Some(life) = cluster.lives.join_next().await {
            if let Err(panic) = life {
                cluster.witness.complain(&format!("panic: {panic}"));
            }
        }
        // What arrives late has arrived by now.
        cluster.clock.sleep(Duration::from_secs(120)).await;
        for openid in &*cluster.openids.lock().unwrap() {
            let received = cluster.sandbox.mailbox(&openid.parse().unwrap()).len();
            cluster.witness.compare(openid, received);
        }
        Outcome {
            account: cluster.witness.account(),
            unsettled: cluster.judge.unsettled(),
            stored: cluster.judge.redis.stored(),
            ambushed: blows.ambushed(),
            spreads: cluster.judge.spreads(),
            operations: cluster.judge.redis.operations(),
        }
    })
}

struct Cluster {
    clock: Arc<MachineClock>,
    witness: Arc<Witness>,
    sandbox: Sandbox,
    judge: Arc<Judge>,
    app: App,
    openids: Arc<Mutex<Vec<String>>>,
    lives: JoinSet<()>,
}

impl Cluster {
    fn new(play: &Play, tells: bool) -> Self {
        let clock = Arc::new(MachineClock::new());
        let witness = Arc::new(Witness::new(Arc::clone(&clock), tells));
        witness.tell(|| format!("{:?}, for {:?}: {:#?}", play.endpoint, play.life, play.fate));
        let truth = Arc::clone(&clock);
        let sandbox = Sandbox::with_clock(Arc::new(move || truth.truth()));
        let judge = Arc::new(Judge {
            clock: Arc::clone(&clock),
            witness: Arc::clone(&witness),
            sandbox: sandbox.clone(),
            redis: Arc::new(Redis::new(Arc::clone(&clock), true)),
            calm: play.calm,
            settle: if play.fate.weixin_refuses() { SETTLE_REFUSED } else { SETTLE },
            state: Mutex::default(),
        });
        let app = App {
            appid: "wx0123456789abcdef".parse().unwrap(),
            secret: "play-money".parse().unwrap(),
            template: "TEMPLATE".parse().unwrap(),
            endpoint: play.endpoint,
        };
        sandbox.add_app(app.appid.clone(), app.secret.clone(), [app.template.clone()]);
        let mut settings = AppSettings::default();
        settings.token_lifetime = play.life;
        sandbox.configure(&app.appid, settings).unwrap();
        Self { clock, witness, sandbox, judge, app, openids: Arc::default(), lives: JoinSet::new() }
    }

    /// Sets everything going.
    fn happen(&mut self, play: Play, dice: &mut Rng) -> Arc<Blows> {
        let Fate { redis, strangers, ambushes, servers } = play.fate;
        for (spell, comes_back) in redis {
            self.redis_returns(spell.to, comes_back);
        }
        for (at, stranger) in strangers {
            self.stranger_comes(at, stranger);
        }
        let (mut targets, mut all_kills) = (Vec::new(), Vec::new());
        for lot in &servers {
            let (sender, kills) = unbounded_channel();
            let clock = Arc::new(MachineClock::new());
            clock.set(lot.skew);
            targets.push(Target { clock, kills: sender });
            all_kills.push(kills);
        }
        let blows = Arc::new(Blows {
            clock: Arc::clone(&self.clock),
            witness: Arc::clone(&self.witness),
            redis: Arc::clone(&self.judge.redis),
            targets,
            ambushes: Mutex::new(ambushes),
            ambushed: Mutex::default(),
            end: play.calm,
        });
        for (number, (lot, kills)) in servers.into_iter().zip(all_kills).enumerate() {
            for (at, blow) in &lot.blows {
                self.blow_falls(*at, number, *blow, &blows);
            }
            let server = self.server(number, lot, &blows, play.end, dice);
            self.lives.spawn(server.live(kills, dice.fork()));
        }
        blows
    }

    fn server(&self, number: usize, lot: Lot, blows: &Arc<Blows>, end: Duration, dice: &mut Rng) -> Server {
        let clock = Arc::clone(&blows.targets[number].clock);
        let line = Line {
            machine: number,
            weixin: Weixin { sandbox: self.sandbox.clone(), witness: Arc::clone(&self.witness) },
            clock: Arc::clone(&clock),
            weather: lot.weather,
            dice: Mutex::new(dice.fork()),
        };
        let ambushes = Arc::clone(blows);
        let store = StoreLink {
            server: number,
            redis: Arc::clone(&self.judge.redis),
            clock: Arc::clone(&clock),
            weather: lot.store_weather,
            leased: Box::new(move || ambushes.leased(number)),
            dice: Mutex::new(dice.fork()),
        };
        Server {
            number,
            app: self.app.clone(),
            clock,
            line: Arc::new(line),
            store: Arc::new(store),
            claims: lot.claims,
            judge: Arc::clone(&self.judge),
            openids: Arc::clone(&self.openids),
            end,
        }
    }

    fn blow_falls(&mut self, at: Duration, number: usize, blow: Blow, blows: &Arc<Blows>) {
        let blows = Arc::clone(blows);
        self.lives.spawn(async move {
            blows.clock.until(at).await;
            blows.strike(number, blow);
        });
    }

    fn redis_returns(&mut self, at: Duration, comes_back: Return) {
        let (redis, witness) = (Arc::clone(&self.judge.redis), Arc::clone(&self.witness));
        self.lives.spawn(async move {
            redis.clock.until(at).await;
            witness.tell(|| format!("Redis comes back: {comes_back:?}"));
            match comes_back {
                Return::AsItWas => {}
                Return::Empty => redis.falls_back(Duration::MAX),
                Return::Older(by) => redis.falls_back(by),
            }
        });
    }

    fn stranger_comes(&mut self, at: Duration, stranger: Stranger) {
        let (clock, witness) = (Arc::clone(&self.clock), Arc::clone(&self.witness));
        let (sandbox, appid) = (self.sandbox.clone(), self.app.appid.clone());
        self.lives.spawn(async move {
            clock.until(at).await;
            witness.tell(|| format!("a stranger {stranger:?}"));
            match stranger {
                Stranger::HasRobbed => sandbox.invalidate_tokens(&appid).unwrap(),
                Stranger::Fetches => {
                    let target = format!(
                        "/cgi-bin/token?grant_type=client_credential&appid={appid}&secret=play-money"
                    );
                    let reply = sandbox.handle("GET", &target, b"").outcome.unwrap();
                    witness.arrived(&target, &reply.body);
                }
            }
        });
    }
}
