//! One process on one machine: a keeper and a client at work, killed now and then.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{join, join_all};
use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::error::Call;
use wxsub_core::proto::{Action, AppId, AppSecret, ConsentRequest, Grant, OpenId, Scene, TemplateId};
use wxsub_core::store::TokenStore;
use wxsub_core::token::{Generation, Keeper, TokenEndpoint, TokenSource};

use super::faults::Spell;
use super::network::Line;
use super::node_clock::MachineClock;
use super::schedule::Happening;

/// After this long without trouble, everything works.
const CALM: Duration = Duration::from_secs(600);
/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Machine {
    pub(super) number: usize,
    pub(super) appid: AppId,
    pub(super) secret: AppSecret,
    pub(super) template: TemplateId,
    pub(super) endpoint: TokenEndpoint,
    pub(super) clock: Arc<MachineClock>,
    pub(super) line: Arc<Line>,
    pub(super) store: Option<Arc<dyn TokenStore>>,
    /// Nobody of ours keeps tokens of the same app.
    pub(super) alone: bool,
    pub(super) calendar: Vec<(Duration, Happening)>,
    /// Of every machine of the app.
    pub(super) crashes: Arc<Vec<Duration>>,
    pub(super) dice: Rng,
    pub(super) end: Duration,
}

impl Machine {
    /// Lives until the end, in as many processes as it takes.
    pub(super) async fn live(mut self) {
        let calendar = std::mem::take(&mut self.calendar);
        let crashes = calendar.iter().filter_map(|(at, happening)| match happening {
            Happening::Crash(pause) => Some((*at, *pause)),
            _ => None,
        });
        for (at, pause) in crashes {
            let dice = self.dice.fork();
            tokio::select! {
                biased;
                () = self.clock.until(at) => self.line.weixin.witness.crashed(self.number),
                () = self.work(dice) => {}
            }
            self.clock.sleep(pause).await;
        }
        let dice = self.dice.fork();
        self.work(dice).await;
    }

    /// One process.
    async fn work(&self, mut dice: Rng) {
        let transport = Arc::clone(&self.line);
        let seed = dice.u64(..);
        let keeper = Keeper::builder(self.appid.clone(), self.secret.clone(), transport.clone())
            .api_base("http://localhost".parse().unwrap())
            .clock(self.clock.clone())
            .endpoint(self.endpoint)
            .jitter_seed(seed);
        let keeper = match &self.store {
            Some(store) => keeper.store(Arc::clone(store)).build(),
            None => keeper.build(),
        };
        let client = Client::with_tokens_from(Arc::new(keeper.clone()), transport)
            .api_base("http://localhost".parse().unwrap())
            .clock(self.clock.clone())
            .timeout(PATIENCE)
            .jitter_seed(seed)
            .build();
        join(self.send_now_and_then(&client, dice), self.watch(&keeper)).await;
    }

    async fn send_now_and_then(&self, client: &Client, mut dice: Rng) {
        let mut openids = Vec::new();
        while self.clock.passed() < self.end {
            self.clock.sleep(Duration::from_secs(dice.u64(1..1200))).await;
            let new: Vec<String> = (0..dice.u8(1..4)).map(|_| format!("o{:x}", dice.u64(..))).collect();
            join_all(new.iter().map(|openid| self.send(client, openid))).await;
            openids.extend(new);
        }
        // What arrives late has arrived by now.
        self.clock.sleep(Duration::from_secs(120)).await;
        for openid in &openids {
            let received = self.line.weixin.sandbox.mailbox(&openid.parse().unwrap()).len();
            self.line.weixin.witness.compare(openid, received);
        }
    }

    async fn send(&self, client: &Client, openid: &str) {
        let openid_: OpenId = openid.parse().unwrap();
        let (scene, template) = (Scene::new(7).unwrap(), self.template.clone());
        let request = ConsentRequest::new(self.appid.clone(), template.clone(), scene);
        self.line.weixin.sandbox.consent(request, Action::Confirm { openid: openid_.clone() }).unwrap();
        let message = Grant::trusted(openid_, template, scene)
            .message("Title".parse().unwrap(), "Text".parse().unwrap());

        let began = self.clock.passed();
        let outcome = client.send(&message).await;
        let witness = &self.line.weixin.witness;
        witness.told(openid, &outcome);
        let took = self.clock.passed() - began;
        if took > PATIENCE + Duration::from_millis(10) {
            witness.complain(&format!("{}: {openid} took {took:?}", self.number));
        }
        let Err(error) = outcome else { return };
        if self.is_calm(began) {
            witness.complain(&format!("{}: {openid} failed in calm weather: {error}", self.number));
        }
        let token_missing = error.call() == Call::Token && self.alone && !self.clock_was_set();
        if token_missing && witness.could_send(self.number) {
            witness.complain(&format!(
                "{}: {openid} was not sent though a token is there: {error}",
                self.number
            ));
        }
    }

    /// Looks at what the keeper hands out.
    async fn watch(&self, keeper: &Keeper) {
        let mut newest = Generation::default();
        // Reads start the keeper at odd times, and whatever else happens must not fail.
        drop(keeper.token().await);
        while self.clock.passed() < self.end {
            if let Some(issued) = keeper.current().issued() {
                // A new process knows a stored token's age by the wall clock alone.
                let knows_its_age = self.store.is_none() || !self.clock_was_set();
                self.line.weixin.witness.handed_out(self.number, issued.token().expose(), knows_its_age);
                if issued.generation() < newest {
                    self.line.weixin.witness.complain(&format!("{}: the generation fell", self.number));
                }
                newest = issued.generation();
            }
            self.clock.sleep(Duration::from_secs(20)).await;
        }
    }

    /// Whether there has been no trouble for a while.
    fn is_calm(&self, passed: Duration) -> bool {
        let near = |spell: &Spell| spell.from <= passed + PATIENCE && passed < spell.to + CALM;
        let crashed = |at: &Duration| *at <= passed + PATIENCE && passed < *at + Duration::from_secs(180);
        !self.line.weather.iter().any(near) && !self.crashes.iter().any(crashed)
    }

    fn clock_was_set(&self) -> bool {
        let now = self.clock.now();
        now.wall.get() != u64::try_from(self.clock.truth().as_millis()).unwrap()
    }
}
