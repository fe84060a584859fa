//! The state of the sandbox, behind one lock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use wxsub_proto::{AppId, AppSecret, ConsentAction, ConsentCallback, ConsentRequest, Grant, TemplateId};

use crate::app::{App, AppSettings, TokenGenerator};
use crate::event_log::EventLog;
use crate::fault::Faults;
use crate::mailbox::Mailboxes;

/// The app or template of a control does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFoundError {
    /// The app does not exist.
    #[error("appid: the sandbox has no such app; add the app first")]
    App,
    /// The app has no such template.
    #[error("template_id: the app has no such template; add the app again with this template")]
    Template,
}

/// The state of the sandbox.
#[derive(Default)]
pub(crate) struct SandboxState {
    /// How far the sandbox's time is ahead of the clock.
    pub(crate) clock_offset: Duration,
    pub(crate) apps: HashMap<AppId, App>,
    pub(crate) token_generator: TokenGenerator,
    /// The open grants, each good for one message. Repeated consents for the same user, template and scene do not add up.
    pub(crate) grants: HashSet<(AppId, Grant)>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) faults: Faults,
    pub(crate) event_log: EventLog,
}

impl SandboxState {
    /// Adds an app, or replaces secret, templates and settings of an existing one.
    pub(crate) fn add_app(
        &mut self,
        now: Duration,
        appid: AppId,
        secret: AppSecret,
        templates: BTreeSet<TemplateId>,
        settings: AppSettings,
    ) {
        self.event_log.record_control(now, "app added", Some(&appid));
        match self.apps.get_mut(&appid) {
            Some(app) => app.update(secret, templates, settings),
            None => {
                self.apps.insert(appid, App::new(secret, templates, settings));
            }
        }
    }

    /// The apps, sorted by AppID.
    pub(crate) fn sorted_apps(&self) -> Vec<(&AppId, &App)> {
        let mut apps: Vec<_> = self.apps.iter().collect();
        apps.sort_by_key(|(appid, _)| *appid);
        apps
    }

    /// Checks that the app and the template of the request exist.
    pub(crate) fn check_request(&self, request: &ConsentRequest) -> Result<(), NotFoundError> {
        let app = self.apps.get(&request.appid).ok_or(NotFoundError::App)?;
        match app.has_template(&request.template_id) {
            true => Ok(()),
            false => Err(NotFoundError::Template),
        }
    }

    /// Records a user's decision. A confirmation grants one message; a cancel keeps earlier grants.
    pub(crate) fn consent(
        &mut self,
        now: Duration,
        request: ConsentRequest,
        action: ConsentAction,
    ) -> Result<ConsentCallback, NotFoundError> {
        self.check_request(&request)?;
        let ConsentRequest { appid, scene, template_id, reserved } = request;
        let callback = ConsentCallback::new(action, template_id, scene, reserved);
        let grant = callback.assume_verified();
        let description = if grant.is_some() { "consent confirmed" } else { "consent cancelled" };
        self.event_log.record_control(now, description, Some(&appid));
        self.grants.extend(grant.map(|grant| (appid, grant)));
        Ok(callback)
    }

    /// Invalidates all tokens of an app.
    pub(crate) fn invalidate_tokens(&mut self, now: Duration, appid: &AppId) -> Result<(), NotFoundError> {
        let app = self.apps.get_mut(appid).ok_or(NotFoundError::App)?;
        app.invalidate_all_tokens(&mut self.token_generator, now);
        self.event_log.record_control(now, "tokens invalidated", Some(appid));
        Ok(())
    }

    /// Moves the sandbox's time forward.
    pub(crate) fn advance(&mut self, now: Duration, by: Duration) {
        self.clock_offset = self.clock_offset.saturating_add(by);
        self.event_log.record_control(now, format!("clock advanced by {} s", by.as_secs_f64()), None);
    }
}
