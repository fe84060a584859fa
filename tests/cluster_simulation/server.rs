//! One control server of the cluster: a keeper and a client at work, killed now and then.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{join_all, join3};
use tokio::sync::mpsc::UnboundedReceiver;
use wxsub_core::Client;
use wxsub_core::error::{Call, SendError};
use wxsub_core::proto::{
    Action, AppId, AppSecret, ConsentRequest, Grant, Message, OpenId, Scene, TemplateId,
};
use wxsub_core::token::{Evidence, Generation, Issued, Keeper, Notice, TokenEndpoint, TokenSource};

use super::invariants::Judge;
use super::network::Line;
use super::node_clock::MachineClock;
use super::store_link::StoreLink;

/// How long one message may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often somebody reads the token.
pub(super) const READS: Duration = Duration::from_secs(10);

/// The app that all servers keep.
#[derive(Clone)]
pub(super) struct App {
    pub(super) appid: AppId,
    pub(super) secret: AppSecret,
    pub(super) template: TemplateId,
    pub(super) endpoint: TokenEndpoint,
}

pub(super) struct Server {
    pub(super) number: usize,
    pub(super) app: App,
    pub(super) clock: Arc<MachineClock>,
    pub(super) line: Arc<Line>,
    pub(super) store: Arc<StoreLink>,
    pub(super) claims: Vec<Duration>,
    pub(super) judge: Arc<Judge>,
    /// Everybody who was to get a message.
    pub(super) openids: Arc<Mutex<Vec<String>>>,
    pub(super) end: Duration,
}

impl Server {
    /// Lives until the end, in as many processes as it takes.
    pub(super) async fn live(self, mut kills: UnboundedReceiver<Duration>, mut dice: Rng) {
        loop {
            let down = tokio::select! {
                biased;
                down = kills.recv() => down.unwrap(),
                () = self.work(dice.fork()) => return,
            };
            self.judge.witness.crashed(self.number);
            self.judge.clock.sleep(down).await;
        }
    }

    /// One process.
    async fn work(&self, mut dice: Rng) {
        let (app, transport) = (&self.app, Arc::clone(&self.line));
        let seed = dice.u64(..);
        let keeper = Keeper::builder(app.appid.clone(), app.secret.clone(), transport.clone())
            .api_base("http://localhost".parse().unwrap())
            .clock(self.clock.clone())
            .endpoint(app.endpoint)
            .store(self.store.clone())
            .jitter_seed(seed)
            .observe(self.observer())
            .build();
        let client = Client::with_tokens_from(Arc::new(keeper.clone()), transport)
            .api_base("http://localhost".parse().unwrap())
            .clock(self.clock.clone())
            .timeout(PATIENCE)
            .jitter_seed(seed)
            .build();
        join3(self.send_now_and_then(&keeper, &client, dice), self.read(&keeper), self.claim(&keeper)).await;
    }

    /// Tells the judge from when on this server holds which token.
    fn observer(&self) -> impl Fn(&Notice) + Send + Sync + 'static {
        let (number, judge) = (self.number, Arc::clone(&self.judge));
        move |notice| {
            if let Notice::Refreshed { generation, obtained, .. } = notice {
                judge.witness.tell(|| format!("{number}: holds {generation}, {obtained:?}"));
                judge.holds(*generation);
            }
        }
    }

    async fn send_now_and_then(&self, keeper: &Keeper, client: &Client, mut dice: Rng) {
        loop {
            let next = self.clock.passed() + Duration::from_millis(dice.u64(1..600_000));
            if next > self.end {
                return;
            }
            self.clock.until(next).await;
            let new: Vec<String> = (0..dice.u8(1..3)).map(|_| format!("o{:x}", dice.u64(..))).collect();
            self.openids.lock().unwrap().extend(new.iter().cloned());
            join_all(new.iter().map(|openid| self.send(keeper, client, openid))).await;
        }
    }

    async fn send(&self, keeper: &Keeper, client: &Client, openid: &str) {
        let message = self.consented(openid.parse().unwrap());
        let began = self.clock.passed();
        let held = keeper.current().to_owned();
        if let Some(held) = &held {
            self.hands_out(held);
        }
        let outcome = client.send(&message).await;
        self.judge.witness.told(openid, &outcome);
        let span = began..self.clock.passed();
        let in_time = span.end - span.start <= PATIENCE + Duration::from_millis(10);
        if !in_time && !self.clock.stood_still(&span) {
            self.complain(&format!("{openid} took {:?}", span.end - span.start));
        }
        if let Err(error) = outcome {
            self.must_not_fail(openid, &error, held.as_deref(), &span);
        }
    }

    /// What must not keep a message from being sent: anything while all is well, and, while a good token is held, anything
    /// but the way to Weixin.
    fn must_not_fail(&self, openid: &str, error: &SendError, held: Option<&Issued>, span: &Range<Duration>) {
        if self.judge.is_calm(span.start) {
            self.complain(&format!("{openid} failed in calm weather: {error}"));
        }
        if self.clock.stood_still(span) {
            return;
        }
        let clear = self.line.weather.iter().all(|spell| spell.to <= span.start || span.end < spell.from);
        // What works now has worked all the time.
        let held = held.is_some_and(|held| self.judge.works(held.token().expose()));
        if held && (clear || error.call() == Call::Token) {
            self.complain(&format!("{openid} failed though a good token was held: {error}"));
        }
    }

    /// A message that its user wants.
    fn consented(&self, openid: OpenId) -> Message {
        let (scene, template) = (Scene::new(7).unwrap(), self.app.template.clone());
        let request = ConsentRequest::new(self.app.appid.clone(), template.clone(), scene);
        let confirm = Action::Confirm { openid: openid.clone() };
        self.line.weixin.sandbox.consent(request, confirm).unwrap();
        Grant::trusted(openid, template, scene).message("Title".parse().unwrap(), "Text".parse().unwrap())
    }

    /// Looks at what the keeper hands out, at the same times as all servers do.
    async fn read(&self, keeper: &Keeper) {
        let mut newest = Generation::default();
        drop(keeper.token().await);
        while self.clock.passed() < self.end {
            let current = keeper.current().to_owned();
            if let Some(issued) = &current {
                self.hands_out(issued);
                if issued.generation() < newest {
                    self.complain("the generation fell");
                }
                newest = issued.generation();
            }
            self.judge.reads(self.number, current.as_deref());
            let rounds = self.clock.passed().as_secs() / READS.as_secs();
            self.clock.until(READS * u32::try_from(rounds + 1).unwrap()).await;
        }
    }

    /// Somebody says that the token no longer works.
    async fn claim(&self, keeper: &Keeper) {
        for at in &self.claims {
            if *at < self.clock.passed() {
                continue;
            }
            self.clock.until(*at).await;
            let Some(current) = keeper.current().to_owned() else { continue };
            self.judge.witness.tell(|| format!("{}: somebody reports its token", self.number));
            drop(keeper.refresh(current.generation(), Evidence::Claimed).await);
        }
    }

    fn hands_out(&self, issued: &Issued) {
        self.judge.witness.handed_out(self.number, issued.token().expose(), true);
    }

    fn complain(&self, what: &str) {
        self.judge.witness.complain(&format!("{}: {what}", self.number));
    }
}
