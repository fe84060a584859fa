//! The sandbox itself: one handle for requests, and the controls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wxsub_proto::{Action, Answer, AppId, AppSecret, BaseUrl, ConsentRequest, OpenId, TemplateId};

use crate::call::{Call, MAX_BODY, split};
use crate::world::World;
use crate::{AppSettings, Caller, Clock, Fault, Handled, Journal, Received, clock};

/// A Weixin of its own, with its own time. Cheap to clone: clones are the same Weixin. No method waits for anything.
#[derive(Clone)]
pub struct Sandbox {
    clock: Clock,
    world: Arc<Mutex<World>>,
}

/// What a control method was asked about does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// No such app.
    #[error("appid: this sandbox has no such app; add it first")]
    App,
    /// The app has no such template.
    #[error("template_id: the app has no such template; add the app with it")]
    Template,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// An empty one on the clock of this machine. [`advance`](Self::advance) puts its time ahead.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(clock::system())
    }

    /// An empty one on another clock, which tells the time since the Unix epoch.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        let world = Arc::default();
        Self { clock, world }
    }

    /// Answers one request to Weixin, the control API or the pages, as if it came from 127.0.0.1.
    #[must_use]
    pub fn handle(&self, method: &str, path_and_query: &str, body: &[u8]) -> Handled {
        self.handle_from(Caller::default(), method, path_and_query, body)
    }

    /// Answers one request of this caller, or from this address.
    #[must_use]
    pub fn handle_from(
        &self,
        caller: impl Into<Caller>,
        method: &str,
        path_and_query: &str,
        body: &[u8],
    ) -> Handled {
        let Caller { address: caller, base, foreign } = caller.into();
        let base = base.as_ref().map_or("http://localhost", BaseUrl::as_str);
        let (path, query) = split(path_and_query);
        let body = Some(body).filter(|body| body.len() <= MAX_BODY);
        self.at_now(|world, now| {
            world.exchange(&Call { now, caller, base, foreign, method, path, query, body })
        })
    }

    /// Adds an app with default settings; an app that is there already gets this secret, these templates and default
    /// settings, and keeps its tokens and grants.
    pub fn add_app(
        &self,
        appid: AppId,
        secret: AppSecret,
        templates: impl IntoIterator<Item = TemplateId>,
    ) -> &Self {
        let templates = templates.into_iter().collect();
        self.at_now(|world, now| world.add_app(now, appid, secret, templates, AppSettings::default()));
        self
    }

    /// How Weixin treats this app.
    ///
    /// # Errors
    /// [`Unknown::App`].
    pub fn settings(&self, appid: &AppId) -> Result<AppSettings, Unknown> {
        self.at_now(|world, _| {
            let app = world.apps.get(appid).ok_or(Unknown::App)?;
            Ok(app.settings.clone())
        })
    }

    /// Changes how Weixin treats this app from now on. Tokens already issued keep their life.
    ///
    /// # Errors
    /// [`Unknown::App`].
    pub fn configure(&self, appid: &AppId, settings: AppSettings) -> Result<(), Unknown> {
        self.at_now(|world, _| {
            world.apps.get_mut(appid).ok_or(Unknown::App)?.settings = settings;
            Ok(())
        })
    }

    /// The user decides; gives the answer a phone would hand over. A confirmation grants one message, a cancel leaves
    /// earlier grants alone.
    ///
    /// # Errors
    /// [`Unknown`] app or template.
    pub fn consent(&self, request: ConsentRequest, action: Action) -> Result<Answer, Unknown> {
        self.at_now(|world, now| world.consent(now, request, action))
    }

    /// The messages this user received, oldest first.
    #[must_use]
    pub fn mailbox(&self, openid: &OpenId) -> Vec<Received> {
        self.at_now(|world, _| world.mail.of(openid).to_vec())
    }

    /// What time it is here, since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.at_now(|_, now| now)
    }

    /// Puts the time of this sandbox forward.
    pub fn advance(&self, by: Duration) {
        self.at_now(|world, now| world.advance(now, by));
    }

    /// A stranger fetched tokens of both kinds for this app, and the overlaps are over: every token issued so far is no
    /// longer the latest.
    ///
    /// # Errors
    /// [`Unknown::App`].
    pub fn invalidate_tokens(&self, appid: &AppId) -> Result<(), Unknown> {
        self.at_now(|world, now| world.invalidate_tokens(now, appid))
    }

    /// Lets this go wrong with the next requests for this path, so many times, after the faults already waiting there.
    pub fn add_fault(&self, path: &str, times: u64, fault: Fault) -> &Self {
        self.at_now(|world, _| world.faults.add(path, times, fault));
        self
    }

    /// Lets nothing go wrong any more.
    pub fn clear_faults(&self) {
        self.at_now(|world, _| world.faults.clear());
    }

    /// What happened so far.
    #[must_use]
    pub fn journal(&self) -> Journal {
        self.at_now(|world, _| world.journal.clone())
    }

    /// Works on the world at the present time. The clock, which is foreign code, is asked before the lock is taken.
    fn at_now<T>(&self, work: impl FnOnce(&mut World, Duration) -> T) -> T {
        let clock = (self.clock)();
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.saturating_add(world.ahead);
        work(&mut world, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_the_same_weixin_on_any_thread() {
        fn anywhere<T: Send + Sync + 'static>(_: &T) {}
        let sandbox = Sandbox::with_clock(Arc::new(|| Duration::from_secs(5)));
        anywhere(&sandbox);
        let same = sandbox.clone();
        same.advance(Duration::from_secs(2));
        assert_eq!((same.now(), sandbox.now()), (Duration::from_secs(7), Duration::from_secs(7)));
        assert_eq!(Sandbox::default().journal(), Journal::default());
        assert!(Sandbox::new().now() > Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let sandbox = Sandbox::new();
        let appid: AppId = "wx1".parse().unwrap();
        assert_eq!(sandbox.settings(&appid), Err(Unknown::App));
        assert_eq!(sandbox.configure(&appid, AppSettings::default()), Err(Unknown::App));
        assert_eq!(sandbox.invalidate_tokens(&appid), Err(Unknown::App));
        sandbox.add_app(appid.clone(), "s".parse().unwrap(), []);
        let request = ConsentRequest::new(appid, "T".parse().unwrap(), "7".parse().unwrap());
        assert_eq!(sandbox.consent(request, Action::Cancel), Err(Unknown::Template));
    }
}
