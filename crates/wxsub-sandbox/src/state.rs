//! The state of the sandbox, behind one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Map, Value};
use wxsub_proto::{AppId, AppSecret, ConsentAction, ConsentCallback, ConsentRequest, Grant, TemplateId};

use crate::app::{App, AppSettings, CallLimits, Token, TokenGenerator, TokenKind};
use crate::event_log::EventLog;
use crate::fault::{Faults, PendingFault};
use crate::journal::Journal;
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

/// A change of the state that a request to Weixin causes.
pub(crate) enum Effect {
    /// Counts a call of an endpoint, unless it exceeds the limits.
    CountCall { appid: AppId, path: &'static str, limits: CallLimits },
    /// Issues a token.
    IssueToken { appid: AppId, token: Token, kind: TokenKind },
    /// Uses up a grant and delivers its message.
    DeliverMessage { grant: (AppId, Grant), body: Map<String, Value> },
    /// Records a decision on the consent page.
    RecordConsent { appid: AppId, callback: ConsentCallback },
}

/// Maximum number of open grants. The oldest are deleted.
const MAX_GRANTS: usize = 100_000;

/// The open grants, each good for one message. Repeated consents for the same user, template and scene do not add up.
#[derive(Default)]
pub(crate) struct Grants {
    numbers: HashMap<(AppId, Grant), u64>,
    by_number: BTreeMap<u64, (AppId, Grant)>,
    last_number: u64,
}

impl Grants {
    fn add(&mut self, grant: (AppId, Grant)) {
        if self.contains(&grant) {
            return;
        }
        self.last_number += 1;
        self.numbers.insert(grant.clone(), self.last_number);
        self.by_number.insert(self.last_number, grant);
        if self.by_number.len() > MAX_GRANTS
            && let Some((_, oldest)) = self.by_number.pop_first()
        {
            self.numbers.remove(&oldest);
        }
    }

    fn use_up(&mut self, grant: &(AppId, Grant)) {
        if let Some(number) = self.numbers.remove(grant) {
            self.by_number.remove(&number);
        }
    }

    pub(crate) fn contains(&self, grant: &(AppId, Grant)) -> bool {
        self.numbers.contains_key(grant)
    }

    /// The grants, in the order in which they were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(AppId, Grant)> {
        self.by_number.values()
    }
}

/// The state of the sandbox.
#[derive(Default)]
pub(crate) struct SandboxState {
    /// How far the sandbox's time is ahead of the clock.
    pub(crate) clock_offset: Duration,
    pub(crate) apps: HashMap<AppId, App>,
    pub(crate) token_generator: TokenGenerator,
    pub(crate) grants: Grants,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) faults: Faults,
    pub(crate) event_log: EventLog,
    pub(crate) journal: Option<Journal>,
    /// Host names, in lower case, that are served besides loopback names and addresses.
    #[cfg(feature = "http")]
    pub(crate) allowed_hosts: Vec<String>,
}

impl SandboxState {
    /// Applies one effect of a request.
    pub(crate) fn apply(&mut self, now: Duration, effect: Effect) {
        match effect {
            Effect::CountCall { appid, path, limits } => {
                if let Some(app) = self.apps.get_mut(&appid) {
                    app.count_call(path, now, limits);
                }
            }
            Effect::IssueToken { appid, token, kind } => {
                self.token_generator.advance_to(token.number);
                if let Some(app) = self.apps.get_mut(&appid) {
                    app.add_token(token, kind, now);
                }
            }
            Effect::DeliverMessage { grant, body } => {
                self.grants.use_up(&grant);
                let (appid, grant) = grant;
                self.mailboxes.deliver(grant.openid().clone(), appid, now.as_secs(), body);
            }
            Effect::RecordConsent { appid, callback } => self.record_consent(now, appid, &callback),
        }
    }

    /// Finds the token with this text, and its app.
    pub(crate) fn find_token(&self, text: &str) -> Option<(&AppId, &App, &Token)> {
        self.apps.iter().find_map(|(appid, app)| Some((appid, app, app.find_token(text)?)))
    }

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
        let replaced = self.apps.remove(&appid);
        self.apps.insert(appid, App::new(secret, templates, settings, replaced));
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
        match app.templates.contains(&request.template_id) {
            true => Ok(()),
            false => Err(NotFoundError::Template),
        }
    }

    /// Records a user's decision, if app and template exist.
    pub(crate) fn consent(
        &mut self,
        now: Duration,
        request: ConsentRequest,
        action: ConsentAction,
    ) -> Result<ConsentCallback, NotFoundError> {
        self.check_request(&request)?;
        let ConsentRequest { appid, scene, template_id, reserved } = request;
        let callback = ConsentCallback { action, template_id, scene, reserved };
        self.record_consent(now, appid, &callback);
        Ok(callback)
    }

    /// Records a user's decision. A confirmation grants one message; a cancel keeps earlier grants.
    fn record_consent(&mut self, now: Duration, appid: AppId, callback: &ConsentCallback) {
        let grant = callback.assume_verified();
        let description = if grant.is_some() { "consent confirmed" } else { "consent cancelled" };
        self.event_log.record_control(now, description, Some(&appid));
        if let Some(grant) = grant {
            self.grants.add((appid, grant));
        }
    }

    /// Invalidates all tokens of an app.
    pub(crate) fn invalidate_tokens(&mut self, now: Duration, appid: &AppId) -> Result<(), NotFoundError> {
        let app = self.apps.get_mut(appid).ok_or(NotFoundError::App)?;
        app.invalidate_all_tokens(&mut self.token_generator, now);
        self.event_log.record_control(now, "tokens invalidated", Some(appid));
        Ok(())
    }

    /// Adds a fault, if its app exists.
    pub(crate) fn add_fault(&mut self, fault: PendingFault) -> Result<(), NotFoundError> {
        match &fault.appid {
            Some(appid) if !self.apps.contains_key(appid) => Err(NotFoundError::App),
            _ => {
                self.faults.add(fault);
                Ok(())
            }
        }
    }

    /// Moves the sandbox's time forward.
    pub(crate) fn advance(&mut self, now: Duration, by: Duration) {
        self.clock_offset = self.clock_offset.saturating_add(by);
        self.event_log.record_control(now, format!("clock advanced by {} s", by.as_secs_f64()), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_grant_is_deleted_when_there_are_too_many() {
        let appid: AppId = "wx1".parse().unwrap();
        let grant =
            |number: usize| (appid.clone(), Grant::assume_verified(format!("user{number}"), "T", 7).unwrap());
        let mut grants = Grants::default();
        grants.add(grant(0));
        grants.use_up(&grant(0));
        (0..=MAX_GRANTS).for_each(|number| grants.add(grant(number)));
        // A repeated consent adds nothing.
        grants.add(grant(MAX_GRANTS));
        let held = [0, 1, MAX_GRANTS].map(|number| grants.contains(&grant(number)));
        assert_eq!((held, grants.iter().count()), ([false, true, true], MAX_GRANTS));
    }
}
