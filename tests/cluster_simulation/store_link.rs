//! The link from one server to Redis: a store as `wxsub-redis` makes one of it, with everything that can happen to a request
//! and to its answer.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use wxsub_core::clock::{Clock, UnixMillis};
use wxsub_core::proto::AppId;
use wxsub_core::store::{Put, Record, StoreError, StoredToken, TokenStore};
use wxsub_core::token::Generation;

use super::node_clock::MachineClock;
use super::redis::{Fields, Kept, Redis};
use super::store_faults::{Mood, MoodSpell, Trip};

/// How long one answer may take, as in `wxsub-redis`.
const ANSWER: Duration = Duration::from_millis(1500);

/// Clocks that are this close agree, as in `wxsub-redis`.
const CLOSE: Duration = Duration::from_secs(2);

pub(super) struct StoreLink {
    pub(super) server: usize,
    pub(super) redis: Arc<Redis>,
    pub(super) clock: Arc<MachineClock>,
    /// Of the link, and of Redis itself.
    pub(super) weather: Vec<MoodSpell>,
    /// Hears that this server has taken the lease.
    pub(super) leased: Box<dyn Fn() + Send + Sync>,
    pub(super) dice: Mutex<Rng>,
}

impl fmt::Debug for StoreLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreLink({})", self.server)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reads,
    Writes,
}

impl StoreLink {
    /// Asks once. What Redis is asked it may do although nobody hears of it, or only when nobody waits any more.
    async fn ask<T: Send + 'static>(
        &self,
        kind: Kind,
        script: impl FnOnce(&Redis) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let began = self.clock.passed();
        let trip = match self.mood() {
            Some(Mood::Refuses) => return Err(StoreError::new("connection refused")),
            Some(Mood::ReadOnly) if kind == Kind::Writes => return Err(StoreError::new("READONLY")),
            Some(mood) => mood.trip(began, &mut self.dice.lock().unwrap()),
            None => Trip::quick(&mut self.dice.lock().unwrap()),
        };
        let lost = || Err(StoreError::new("no answer"));
        match trip.there {
            Some(there) if there <= ANSWER => self.clock.until(began + there).await,
            there => {
                if let Some(there) = there {
                    let redis = Arc::clone(&self.redis);
                    tokio::spawn(async move {
                        redis.clock.until(began + there).await;
                        script(&redis);
                    });
                }
                self.clock.until(began + ANSWER).await;
                return lost();
            }
        }
        let answer = script(&self.redis);
        let Some(back) = trip.back else {
            self.clock.until(began + ANSWER).await;
            return lost();
        };
        if !back.is_zero() {
            self.clock.sleep(back).await;
        }
        // Whoever stood still finds the answer and the end of its patience at once, and may see either first.
        let late = self.clock.passed() > began + ANSWER;
        if late && self.dice.lock().unwrap().bool() { lost() } else { Ok(answer) }
    }

    fn mood(&self) -> Option<Mood> {
        let passed = self.clock.passed();
        self.weather.iter().find(|spell| spell.covers(passed)).map(|spell| spell.mood)
    }

    /// The record as this server understands it.
    fn read(&self, now: Duration, fields: Fields) -> Record {
        let mut record = Record::default();
        record.lost_since = fields.lost_since;
        record.forced = fields.forced;
        record.token = fields.token.map(|kept| {
            // How old it is says the clock of Redis; where the clocks agree, the time is kept as it was written.
            let asked = self.clock.now().wall.before(now.saturating_sub(kept.issued)).before(kept.age);
            let apart = asked.since(kept.asked).max(kept.asked.since(asked));
            let asked = if apart <= CLOSE { kept.asked } else { asked };
            StoredToken::new(kept.token, kept.generation, asked, kept.life)
        });
        record
    }
}

#[async_trait]
impl TokenStore for StoreLink {
    async fn load(&self, app: &AppId) -> Result<Record, StoreError> {
        let app = app.clone();
        let (now, fields) = self.ask(Kind::Reads, move |redis| redis.load(&app)).await?;
        Ok(self.read(now, fields))
    }

    async fn newer_than(&self, app: &AppId, known: Generation) -> Generation {
        let mut published = self.redis.listen(app);
        loop {
            let newer = *published.wait_for(|published| *published > known).await.unwrap();
            if self.mood().is_none() {
                let travels = self.dice.lock().unwrap().u64(1..5);
                self.clock.sleep(Duration::from_millis(travels)).await;
                return newer;
            }
            // A hint that nobody heard is not repeated.
            published.changed().await.unwrap();
        }
    }

    async fn put_if_newer(
        &self,
        app: &AppId,
        replaces: Generation,
        token: StoredToken,
    ) -> Result<Put, StoreError> {
        let StoredToken { token, generation, asked, life, .. } = token;
        let age = self.clock.now().wall.since(asked);
        let kept = Kept { token, generation, asked, age, issued: Duration::ZERO, life };
        let app = app.clone();
        let put = move |redis: &Redis| redis.put_if_newer(&app, replaces, kept);
        let (stored, now, fields) = self.ask(Kind::Writes, put).await?;
        Ok(if stored { Put::Stored } else { Put::Lost(self.read(now, fields)) })
    }

    async fn lease(&self, app: &AppId, holder: &str, length: Duration) -> Result<bool, StoreError> {
        let (app, holder) = (app.clone(), holder.to_owned());
        let leased = self.ask(Kind::Writes, move |redis| redis.lease(&app, &holder, length)).await?;
        if leased {
            (self.leased)();
        }
        Ok(leased)
    }

    async fn release(&self, app: &AppId, holder: &str) -> Result<(), StoreError> {
        let (app, holder) = (app.clone(), holder.to_owned());
        self.ask(Kind::Writes, move |redis| redis.release(&app, &holder)).await
    }

    async fn mark(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        let app = app.clone();
        self.ask(Kind::Writes, move |redis| redis.mark(&app, since)).await
    }

    async fn clear_mark(&self, app: &AppId, since: UnixMillis) -> Result<(), StoreError> {
        let app = app.clone();
        self.ask(Kind::Writes, move |redis| redis.clear_mark(&app, since)).await
    }

    async fn take_force(&self, app: &AppId, now: UnixMillis) -> Result<bool, StoreError> {
        let app = app.clone();
        self.ask(Kind::Writes, move |redis| redis.take_force(&app, now)).await
    }
}
