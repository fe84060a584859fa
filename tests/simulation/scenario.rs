//! A hundred keepers for some sixty apps, and everything that happens to them, out of one seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use wxsub_core::proto::{AppId, AppSecret, TemplateId};
use wxsub_core::store::{MemoryStore, TokenStore};
use wxsub_core::token::TokenEndpoint;
use wxsub_sandbox::Sandbox;

use super::faults::weather;
use super::flaky_store::FlakyStore;
use super::network::{Line, Weixin};
use super::node::Machine;
use super::node_clock::MachineClock;
use super::oracle::{Account, Witness};
use super::schedule::{Happening, calendar};

const KEEPERS: usize = 100;
/// Trouble begins and ends before this.
const TROUBLED: Duration = Duration::from_secs(5 * 3600);
/// Then everything must work again.
const END: Duration = Duration::from_secs(5 * 3600 + 1800);

/// Plays one seed. `tells` prints what happens.
pub(crate) fn play(seed: u64, tells: bool) -> Account {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(MachineClock::new());
        let witness = Arc::new(Witness::new(Arc::clone(&clock), tells));
        let truth = Arc::clone(&clock);
        let sandbox = Sandbox::with_clock(Arc::new(move || truth.truth()));
        let mut world =
            World { dice: Rng::with_seed(seed), clock, witness, sandbox, lives: JoinSet::new(), machines: 0 };
        while world.machines < KEEPERS {
            world.add_app();
        }
        while let Some(life) = world.lives.join_next().await {
            if let Err(panic) = life {
                world.witness.complain(&format!("panic: {panic}"));
            }
        }
        world.witness.account()
    })
}

/// Who shares an app.
struct Team {
    size: usize,
    endpoint: TokenEndpoint,
    shares_a_store: bool,
}

struct World {
    dice: Rng,
    clock: Arc<MachineClock>,
    witness: Arc<Witness>,
    sandbox: Sandbox,
    lives: JoinSet<()>,
    machines: usize,
}

impl World {
    fn team(&mut self) -> Team {
        let endpoint = match self.dice.u8(0..3) {
            0 => TokenEndpoint::StableToken,
            _ => TokenEndpoint::Token,
        };
        match self.dice.u8(0..10) {
            // Colleagues who do not know of each other.
            0 => Team { size: 2, endpoint, shares_a_store: false },
            1 => Team { size: self.dice.usize(2..5), endpoint, shares_a_store: true },
            _ => Team { size: 1, endpoint, shares_a_store: self.dice.u8(0..10) == 0 },
        }
    }

    fn add_app(&mut self) {
        let Team { size, endpoint, shares_a_store } = self.team();
        let appid: AppId = format!("wx{:016x}", self.machines).parse().unwrap();
        let secret: AppSecret = "play-money".parse().unwrap();
        let template: TemplateId = "TEMPLATE".parse().unwrap();
        self.sandbox.add_app(appid.clone(), secret.clone(), [template.clone()]);
        let weather = weather(&mut self.dice, TROUBLED);
        // Those who share a store share a clock, as they do with a server's.
        let shared = Arc::new(MachineClock::new());
        let store = shares_a_store.then(|| {
            let (store, clock) = (MemoryStore::on(self.clock.clone()), Arc::clone(&self.clock));
            Arc::new(FlakyStore { store, clock, weather: weather.clone() }) as Arc<dyn TokenStore>
        });
        let calendars: Vec<_> = (0..size).map(|_| calendar(&mut self.dice, TROUBLED)).collect();
        let crash = |(at, what): &(Duration, Happening)| matches!(what, Happening::Crash(_)).then_some(*at);
        let crashes = Arc::new(calendars.iter().flatten().filter_map(crash).collect::<Vec<_>>());
        self.witness.tell(|| format!("{appid} {size} {endpoint:?} {weather:?} {calendars:?}"));
        for calendar in calendars {
            let number = self.machines;
            self.machines += 1;
            let clock = if shares_a_store { Arc::clone(&shared) } else { Arc::new(MachineClock::new()) };
            for (at, happening) in &calendar {
                self.happens(*at, *happening, &appid, number, &clock);
            }
            let line = Arc::new(Line {
                machine: number,
                weixin: Weixin { sandbox: self.sandbox.clone(), witness: Arc::clone(&self.witness) },
                clock: Arc::clone(&clock),
                weather: weather.clone(),
                dice: Mutex::new(self.dice.fork()),
            });
            let machine = Machine {
                number,
                appid: appid.clone(),
                secret: secret.clone(),
                template: template.clone(),
                endpoint,
                clock,
                line,
                store: store.clone(),
                alone: size == 1,
                calendar,
                crashes: Arc::clone(&crashes),
                dice: self.dice.fork(),
                end: END,
            };
            self.lives.spawn(machine.live());
        }
    }

    /// What does not happen inside a process.
    fn happens(
        &mut self,
        at: Duration,
        happening: Happening,
        appid: &AppId,
        machine: usize,
        clock: &Arc<MachineClock>,
    ) {
        let (sandbox, appid, clock, witness) =
            (self.sandbox.clone(), appid.clone(), Arc::clone(clock), Arc::clone(&self.witness));
        self.lives.spawn(async move {
            clock.until(at).await;
            witness.tell(|| format!("{appid}: {happening:?}"));
            if matches!(happening, Happening::Robbed | Happening::StrangerFetches) {
                witness.robbed(machine);
            }
            match happening {
                Happening::Crash(_) => {}
                Happening::ClockSet(by) => clock.set(by),
                Happening::Robbed => sandbox.invalidate_tokens(&appid).unwrap(),
                Happening::StrangerFetches => {
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
