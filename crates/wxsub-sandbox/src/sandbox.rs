//! The public handle: requests and controls.

#[cfg(feature = "http")]
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wxsub_proto::{
    AppId, AppSecret, BaseUrl, ConsentAction, ConsentCallback, ConsentRequest, OpenId, TemplateId,
};
#[cfg(feature = "http")]
use wxsub_proto::{LocalizedText, ValidationError};

use crate::app::AppSettings;
use crate::clock::{self, Clock, MAX_TIME};
use crate::event_log::EventLog;
use crate::exchange::Exchange;
use crate::fault::{Fault, PendingFault};
use crate::journal::Journal;
use crate::mailbox::ReceivedMessage;
use crate::request::{Caller, MAX_BODY_BYTES, Request, split_target};
use crate::router;
use crate::state::{NotFoundError, SandboxState};

/// A simulated Weixin with its own clock.
///
/// Clones are cheap and share one state. No method blocks or waits, except for a [`Journal`].
#[derive(Clone, derive_more::Debug)]
#[debug("Sandbox")]
pub struct Sandbox {
    clock: Clock,
    state: Arc<Mutex<SandboxState>>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty sandbox on the clock of this machine. [`advance`](Self::advance) moves its time forward.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(clock::system())
    }

    /// An empty sandbox on the given clock.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// Handles one request to Weixin, the control API or the pages, from 127.0.0.1.
    #[must_use]
    pub fn handle(&self, method: &str, path_and_query: &str, body: &[u8]) -> Exchange {
        self.handle_from(Caller::default(), method, path_and_query, body)
    }

    /// Handles one request from this caller or IP address.
    #[must_use]
    pub fn handle_from(
        &self,
        caller: impl Into<Caller>,
        method: &str,
        path_and_query: &str,
        body: &[u8],
    ) -> Exchange {
        let Caller { address: client_ip, base_url, is_cross_site } = caller.into();
        let base_url = base_url.as_ref().map_or("http://localhost", BaseUrl::as_str);
        let (path, query) = split_target(path_and_query);
        let body = Some(body).filter(|body| body.len() <= MAX_BODY_BYTES);
        self.with_state(|state, now| {
            let request = Request { now, client_ip, base_url, is_cross_site, method, path, query, body };
            router::handle(state, &request)
        })
    }

    /// Adds an app with default settings.
    ///
    /// If the app exists, this replaces its secret, templates and settings. Its tokens and grants stay.
    pub fn add_app(
        &self,
        appid: AppId,
        secret: AppSecret,
        templates: impl IntoIterator<Item = TemplateId>,
    ) -> &Self {
        let templates = templates.into_iter().collect();
        self.with_state(|state, now| state.add_app(now, appid, secret, templates, AppSettings::default()));
        self
    }

    /// The settings of this app.
    ///
    /// # Errors
    /// [`NotFoundError::App`] if the app does not exist.
    pub fn settings(&self, appid: &AppId) -> Result<AppSettings, NotFoundError> {
        self.with_state(|state, _| {
            let app = state.apps.get(appid).ok_or(NotFoundError::App)?;
            Ok(app.settings.clone())
        })
    }

    /// Replaces the settings of this app. Tokens that were already issued keep their lifetime.
    ///
    /// # Errors
    /// [`NotFoundError::App`] if the app does not exist.
    pub fn configure(&self, appid: &AppId, settings: AppSettings) -> Result<(), NotFoundError> {
        self.with_state(|state, _| {
            state.apps.get_mut(appid).ok_or(NotFoundError::App)?.settings = settings;
            Ok(())
        })
    }

    /// Records a user's decision and returns the callback that Weixin would send.
    ///
    /// A confirmation grants one message. A cancel keeps earlier grants. The sandbox keeps the last 100 000 open grants.
    ///
    /// # Errors
    /// [`NotFoundError`] if the app or the template does not exist.
    pub fn consent(
        &self,
        request: ConsentRequest,
        action: ConsentAction,
    ) -> Result<ConsentCallback, NotFoundError> {
        self.with_state(|state, now| state.consent(now, request, action))
    }

    /// The messages this user received, oldest first. Mailboxes keep the last 100 000 messages of all users.
    #[must_use]
    pub fn mailbox(&self, openid: &OpenId) -> Vec<ReceivedMessage> {
        self.with_state(|state, _| state.mailboxes.messages(openid))
    }

    /// The time of the sandbox, since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.with_state(|_, now| now)
    }

    /// Moves the time of the sandbox forward, at most to the end of the year 9999.
    pub fn advance(&self, by: Duration) {
        self.with_state(|state, now| state.advance(now, by));
    }

    /// Invalidates all tokens of this app, as if another client had fetched new ones and the overlap had passed.
    ///
    /// Requests with an invalidated token get 40001.
    ///
    /// # Errors
    /// [`NotFoundError::App`] if the app does not exist.
    pub fn invalidate_tokens(&self, appid: &AppId) -> Result<(), NotFoundError> {
        self.with_state(|state, now| state.invalidate_tokens(now, appid))
    }

    /// Applies `fault` to the next `times` requests for `path`, after the faults already pending for that path.
    pub fn add_fault(&self, path: &str, times: u64, fault: Fault) -> &Self {
        let path = path.to_owned();
        self.with_state(|state, _| state.faults.add(PendingFault { path, appid: None, times, fault }));
        self
    }

    /// Like [`add_fault`](Self::add_fault), but only for requests of this app. Other apps go on.
    ///
    /// The app of a request is the one that got its `access_token`, whether the token is still valid or not. A request
    /// without a token belongs to the app of its `appid`, in the query or in the JSON body. Of the faults that apply to a
    /// request, it meets the oldest.
    ///
    /// # Errors
    /// [`NotFoundError::App`] if the app does not exist.
    pub fn add_fault_for_app(
        &self,
        appid: &AppId,
        path: &str,
        times: u64,
        fault: Fault,
    ) -> Result<&Self, NotFoundError> {
        let (path, appid) = (path.to_owned(), Some(appid.clone()));
        self.with_state(|state, _| state.add_fault(PendingFault { path, appid, times, fault }))?;
        Ok(self)
    }

    /// Removes all pending faults.
    pub fn clear_faults(&self) {
        self.with_state(|state, _| state.faults.clear());
    }

    /// Allows requests over HTTP by this host name, without regard to case and port. Loopback names (`localhost` and names
    /// below it) and IP addresses are always allowed.
    ///
    /// A page of another site can point its own name to this machine and then read the sandbox. So other names are rejected.
    ///
    /// # Errors
    /// [`InvalidFormat`](wxsub_proto::ValidationErrorKind::InvalidFormat) if it is not only a host name.
    #[cfg(feature = "http")]
    pub fn allow_host(&self, name: &str) -> Result<&Self, ValidationError> {
        match BaseUrl::insecure(&format!("http://{name}")) {
            Ok(base) if base.host() == name => {
                self.with_state(|state, _| state.allowed_hosts.push(name.to_ascii_lowercase()));
                Ok(self)
            }
            _ => {
                let expected = LocalizedText::new(
                    "a host name without scheme and port, such as sandbox.example",
                    "是不带协议和端口的主机名，例如 sandbox.example",
                );
                Err(ValidationError::invalid_format("host", expected))
            }
        }
    }

    /// Whether requests by this host are served.
    #[cfg(feature = "http")]
    pub(crate) fn is_allowed_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let is_loopback = host == "localhost" || host.ends_with(".localhost");
        is_loopback
            || host.parse::<IpAddr>().is_ok()
            || self.with_state(|state, _| state.allowed_hosts.contains(&host))
    }

    /// Writes every request to Weixin to this journal from now on, in place of an earlier one.
    ///
    /// [`handle`](Self::handle) then waits for the journal.
    pub fn set_journal(&self, journal: Journal) -> &Self {
        self.with_state(|state, _| state.journal = Some(journal));
        self
    }

    /// A copy of the event log.
    #[must_use]
    pub fn event_log(&self) -> EventLog {
        self.with_state(|state, _| state.event_log.clone())
    }

    /// Runs `work` on the state at the current time. The clock is caller's code, so it is read before the lock is taken.
    fn with_state<T>(&self, work: impl FnOnce(&mut SandboxState, Duration) -> T) -> T {
        let clock = (self.clock)();
        let mut state = self.state.lock();
        let now = clock.saturating_add(state.clock_offset).min(MAX_TIME);
        work(&mut state, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_state_across_threads() {
        fn anywhere<T: Send + Sync + 'static>(_: &T) {}
        let sandbox = Sandbox::with_clock(Arc::new(|| Duration::from_secs(5)));
        anywhere(&sandbox);
        let same = sandbox.clone();
        same.advance(Duration::from_secs(2));
        assert_eq!((same.now(), sandbox.now()), (Duration::from_secs(7), Duration::from_secs(7)));
        assert_eq!(Sandbox::default().event_log(), EventLog::default());
        assert!(Sandbox::new().now() > Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn unknown_app_or_template_is_an_error() {
        let sandbox = Sandbox::new();
        let appid: AppId = "wx1".parse().unwrap();
        assert_eq!(sandbox.settings(&appid), Err(NotFoundError::App));
        assert_eq!(sandbox.configure(&appid, AppSettings::default()), Err(NotFoundError::App));
        assert_eq!(sandbox.invalidate_tokens(&appid), Err(NotFoundError::App));
        assert_eq!(sandbox.add_fault_for_app(&appid, "/x", 1, Fault::Hang).err(), Some(NotFoundError::App));
        sandbox.add_app(appid.clone(), "s".parse().unwrap(), []);
        let request = ConsentRequest::new(appid, "T", "7").unwrap();
        assert_eq!(sandbox.consent(request, ConsentAction::Cancel), Err(NotFoundError::Template));
    }
}
