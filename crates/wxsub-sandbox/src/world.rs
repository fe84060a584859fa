//! Everything the sandbox knows: one value, behind one lock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use wxsub_proto::{Action, Answer, AppId, AppSecret, ConsentRequest, Grant, TemplateId};

use crate::app::{App, AppSettings};
use crate::call::Call;
use crate::fault::Faults;
use crate::handled::{Broken, Handled, Reply};
use crate::journal::{Journal, Trace};
use crate::mailbox::Mail;
use crate::mint::Mint;
use crate::refused::Refused;
use crate::{Fault, Unknown, control, page, ui, weixin};

/// Everything the sandbox knows.
#[derive(Default)]
pub(crate) struct World {
    /// How far its time is ahead of the clock.
    pub(crate) ahead: Duration,
    pub(crate) apps: HashMap<AppId, App>,
    pub(crate) mint: Mint,
    /// The rights to send one message. A set: consents for the same three do not add up.
    pub(crate) grants: HashSet<(AppId, Grant)>,
    pub(crate) mail: Mail,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
}

impl World {
    /// Answers one request, as the next fault on its path has it.
    pub(crate) fn exchange(&mut self, call: &Call<'_>) -> Handled {
        let beside = ui::answer(self, call).or_else(|| control::answer(self, call));
        if let Some(reply) = beside {
            return Handled { delay: Duration::ZERO, outcome: Ok(reply) };
        }
        let fault = self.faults.take(call.path);
        let mut trace = Trace { fault: fault.as_ref().map(Fault::name), ..Trace::default() };
        let handled = self.meet(fault, call, &mut trace);
        self.journal.request(call, trace);
        handled
    }

    fn meet(&mut self, fault: Option<Fault>, call: &Call<'_>, trace: &mut Trace) -> Handled {
        let mut delay = Duration::ZERO;
        let outcome = match fault {
            None => Ok(weixin::answer(self, call, trace)),
            Some(Fault::Delay(late)) => {
                delay = late;
                Ok(weixin::answer(self, call, trace))
            }
            Some(Fault::ErrCode(code)) => {
                trace.errcode = Some(code);
                Ok(Reply::weixin(&Refused::by_fault(code, call.caller).to_json(call.now)))
            }
            Some(Fault::Status(status)) => Ok(page::intermediary(status)),
            Some(Fault::Html) => Ok(page::captive_portal()),
            Some(Fault::ResetBeforeApply) => Err(Broken::ResetBeforeApply),
            Some(Fault::ResetAfterApply) => {
                weixin::answer(self, call, trace);
                Err(Broken::ResetAfterApply)
            }
            Some(Fault::Truncate) => Err(Broken::Truncated(weixin::answer(self, call, trace))),
            Some(Fault::Hang) => Err(Broken::Hang),
        };
        Handled { delay, outcome }
    }

    pub(crate) fn add_app(
        &mut self,
        now: Duration,
        appid: AppId,
        secret: AppSecret,
        templates: BTreeSet<TemplateId>,
        settings: AppSettings,
    ) {
        self.journal.deed(now, "app added", Some(&appid));
        match self.apps.get_mut(&appid) {
            Some(app) => app.change(secret, templates, settings),
            None => {
                self.apps.insert(appid, App::new(secret, templates, settings));
            }
        }
    }

    /// The apps by their AppIDs.
    pub(crate) fn apps_in_order(&self) -> Vec<(&AppId, &App)> {
        let mut apps: Vec<_> = self.apps.iter().collect();
        apps.sort_by_key(|(appid, _)| *appid);
        apps
    }

    /// Whether this app and template exist here.
    pub(crate) fn knows(&self, request: &ConsentRequest) -> Result<(), Unknown> {
        let app = self.apps.get(&request.appid).ok_or(Unknown::App)?;
        match app.has_template(&request.template_id) {
            true => Ok(()),
            false => Err(Unknown::Template),
        }
    }

    /// The user has decided: a confirmation grants one message, a cancel changes nothing.
    pub(crate) fn consent(
        &mut self,
        now: Duration,
        request: ConsentRequest,
        action: Action,
    ) -> Result<Answer, Unknown> {
        self.knows(&request)?;
        let ConsentRequest { appid, scene, template_id, reserved, .. } = request;
        let deed = match &action {
            Action::Confirm { openid } => {
                let grant = Grant::trusted(openid.clone(), template_id.clone(), scene);
                self.grants.insert((appid.clone(), grant));
                "consent confirmed"
            }
            Action::Cancel => "consent cancelled",
        };
        self.journal.deed(now, deed, Some(&appid));
        Ok(Answer::new(action, template_id, scene, reserved))
    }

    /// A stranger fetched tokens for this app, and the overlaps are over.
    pub(crate) fn invalidate_tokens(&mut self, now: Duration, appid: &AppId) -> Result<(), Unknown> {
        let app = self.apps.get_mut(appid).ok_or(Unknown::App)?;
        app.rob(&mut self.mint, now);
        self.journal.deed(now, "tokens invalidated", Some(appid));
        Ok(())
    }

    /// Moves the time forward.
    pub(crate) fn advance(&mut self, now: Duration, by: Duration) {
        self.ahead = self.ahead.saturating_add(by);
        self.journal.deed(now, format!("clock advanced by {} s", by.as_secs_f64()), None);
    }
}
