//! The outbox of the server: its apps as the configuration has them, and the workers that send for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;
use wxsub_mysql::MysqlInbox;
use wxsub_outbox::inbox::{InboxCopier, InboxError, InboxStatus};
use wxsub_outbox::{App, Ledger, Outbox, Outcomes};
use wxsub_postgres::PostgresInbox;
use wxsub_proto::{AppId, LocalizedText, localized_text};

use super::webhooks::WebhookSender;
use super::{ManagedApp, Services};
use crate::config::{AppAccess, InboxConfig, InboxDatabase, OutboxSettings, WebhookConfig};
use crate::state::metrics::Metrics;

/// The table of the inbox in the ledger's own database, as the name of that inbox.
const LEDGER_INBOX: &str = "wxsub_inbox";

/// Maximum length of a note of an operator.
const MAX_NOTE_BYTES: usize = 1_000;

/// What a ledger stores as the note of an operator: neither too long nor with control characters besides line breaks and tabs.
/// PostgreSQL refuses U+0000.
pub(crate) fn check_note(note: &str) -> Result<(), LocalizedText<String>> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(localized_text!(
            "must have at most {MAX_NOTE_BYTES} bytes; shorten it",
            "最多 {MAX_NOTE_BYTES} 字节；请缩短"
        ));
    }
    match note.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        Some(c) => {
            let c = u32::from(c);
            Err(localized_text!(
                "has the control character U+{c:04X}; remove it",
                "包含控制字符 U+{c:04X}；请删除"
            ))
        }
        None => Ok(()),
    }
}

/// The outbox for the apps of one configuration.
#[derive(Clone)]
pub(crate) struct ServerOutbox {
    outbox: Outbox,
    apps: Arc<BTreeMap<AppId, OutboxApp>>,
    inboxes: Vec<InboxConfig>,
}

#[derive(Clone)]
struct OutboxApp {
    managed: Arc<ManagedApp>,
    settings: OutboxSettings,
    /// With its rate, which goes on while the settings are the same.
    app: App,
}

impl OutboxApp {
    fn new(managed: &Arc<ManagedApp>, settings: OutboxSettings) -> Self {
        let app = App::new(managed.appid().clone(), managed.client.clone())
            .concurrency(settings.concurrency)
            .maybe_sent(settings.maybe_sent)
            .require_grant(settings.require_grant)
            .require_idempotency_key(settings.require_idempotency_key);
        let app = match settings.rate_per_s {
            Some(rate) => app.rate_per_s(rate),
            None => app,
        };
        Self { managed: Arc::clone(managed), settings, app }
    }

    fn is_for(&self, managed: &Arc<ManagedApp>, settings: OutboxSettings) -> bool {
        Arc::ptr_eq(&self.managed, managed) && self.settings == settings
    }
}

impl ServerOutbox {
    /// The outbox of these apps: the one before if nothing has changed for it.
    pub(super) fn new<'a>(
        ledger: &Arc<dyn Ledger>,
        services: &Services,
        apps: impl Iterator<Item = (&'a Arc<ManagedApp>, OutboxSettings)>,
        inboxes: &[InboxConfig],
        before: Option<&Self>,
    ) -> Self {
        let inboxes = inboxes.to_vec();
        let mut all_known = true;
        let app = |(managed, settings): (&'a Arc<ManagedApp>, _)| {
            let known = before.and_then(|before| before.apps.get(managed.appid()));
            let known = known.filter(|app| app.is_for(managed, settings));
            all_known &= known.is_some();
            (managed.appid().clone(), known.cloned().unwrap_or_else(|| OutboxApp::new(managed, settings)))
        };
        let apps: BTreeMap<_, _> = apps.map(app).collect();
        if let Some(before) = before.filter(|before| all_known && before.apps.len() == apps.len()) {
            return Self { inboxes, ..before.clone() };
        }
        let metrics = Arc::clone(&services.metrics);
        let builder = Outbox::with_ledger(Arc::clone(ledger))
            .clock(Arc::clone(&services.clock))
            .on_commit(move |event| metrics.record_commit(event));
        let builder = apps.values().fold(builder, |builder, app| builder.app(app.app.clone()));
        Self { outbox: builder.build(), apps: Arc::new(apps), inboxes }
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether commits to the ledger succeed.
    pub(crate) fn is_up(&self) -> bool {
        self.outbox.ledger_failure().is_none()
    }

    /// Whether it is the same one, so that its worker goes on.
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.apps, &other.apps)
    }
}

/// The workers: that of the current outbox, and those before it, which end their attempts. Dropping it aborts them.
#[derive(Default)]
pub(crate) struct Workers {
    tasks: JoinSet<()>,
    current: Option<(ServerOutbox, DropGuard)>,
    /// Of the inboxes of the current outbox.
    copiers: JoinSet<()>,
    /// Stops the sender of webhooks.
    sender: Option<DropGuard>,
}

/// Copies the rows of an inbox for ever. `name` is its place in the configuration.
async fn copy(outbox: Outbox, name: String, inbox: InboxConfig, services: Services) {
    let copier = match inbox.database {
        InboxDatabase::Mysql(database) => InboxCopier::new(&outbox, MysqlInbox::new(database.options)),
        InboxDatabase::Postgres(database) => match PostgresInbox::new(&database.options) {
            Ok(inbox) => InboxCopier::new(&outbox, inbox),
            // Reading the configuration has checked the same.
            Err(error) => return error!(%error, "an inbox is not copied; reload the configuration"),
        },
    };
    let copier = match inbox.apps {
        AppAccess(None) => copier,
        AppAccess(Some(apps)) => copier.apps(apps.into_iter().collect()),
    };
    let status = copier.status();
    tokio::select! {
        () = copier.run(std::future::pending()) => {}
        () = record_inbox_status(name, status, services) => {}
    }
}

/// Counts the rows that stay in their table, and the attempts that fail. The log has their errors.
async fn record_inbox_status(name: String, mut status: watch::Receiver<InboxStatus>, services: Services) {
    let mut counted = 0;
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        services.metrics.record_inbox_rejected(now.rejected - std::mem::replace(&mut counted, now.rejected));
        let error = now.error.as_ref().map(InboxError::localized);
        services.metrics.record_inbox(&name, now.failures, error, services.clock.now().wall);
    }
}

/// Counts for ever. Outcomes that it misses, because it is slow, are not counted.
async fn count_outcomes(mut outcomes: Outcomes, metrics: Arc<Metrics>) {
    loop {
        if let Ok(message) = outcomes.next().await {
            metrics.record_settled(&message);
        }
    }
}

impl Workers {
    /// Runs the worker of this outbox, and stops the one before. Needs a tokio runtime.
    pub(super) fn run(&mut self, outbox: &ServerOutbox, services: &Services) {
        let current = self.current.as_ref().map(|(current, _)| current);
        let is_same = current.is_some_and(|current| current.is_same(outbox));
        if !is_same || current.is_none_or(|current| current.inboxes != outbox.inboxes) {
            services.metrics.forget_inboxes(|name| !is_same || name != LEDGER_INBOX);
            self.copy_inboxes(outbox, services);
        }
        if let Some((current, _)) = self.current.as_mut().filter(|_| is_same) {
            current.inboxes.clone_from(&outbox.inboxes);
            return;
        }
        let stop = CancellationToken::new();
        let working = outbox.outbox.run(stop.clone().cancelled_owned());
        let outcomes = count_outcomes(outbox.outbox.outcomes(), Arc::clone(&services.metrics));
        // The worker moves the rows of the inbox in the ledger's own database.
        let rejected =
            record_inbox_status(LEDGER_INBOX.to_owned(), outbox.outbox.inbox_status(), services.clone());
        self.tasks.spawn(async {
            let ended = tokio::select! {
                // What is final before the end is counted.
                biased;
                ((), ()) = async { tokio::join!(outcomes, rejected) } => return,
                ended = working => ended,
            };
            if let Err(error) = ended {
                error!(%error, "the worker of the outbox ended; restart the server");
            }
        });
        self.current = Some((outbox.clone(), stop.drop_guard()));
    }

    fn copy_inboxes(&mut self, outbox: &ServerOutbox, services: &Services) {
        self.copiers = JoinSet::new();
        for (index, inbox) in outbox.inboxes.iter().enumerate() {
            let name = format!("inboxes[{index}]");
            self.copiers.spawn(copy(outbox.outbox.clone(), name, inbox.clone(), services.clone()));
        }
    }

    /// Sends webhooks to these endpoints. A sender before ends its attempts. Needs a tokio runtime.
    pub(super) fn send_webhooks(
        &mut self,
        outbox: &ServerOutbox,
        services: &Services,
        webhooks: &[Arc<WebhookConfig>],
    ) {
        // Each reload starts another sender.
        while self.tasks.try_join_next().is_some() {}
        let stop = CancellationToken::new();
        let sender = WebhookSender::new(&outbox.outbox, services, webhooks);
        self.tasks.spawn(sender.run(stop.clone().cancelled_owned()));
        self.sender = Some(stop.drop_guard());
    }

    /// Whether a worker has been started.
    pub(super) fn are_running(&self) -> bool {
        self.current.is_some()
    }

    /// Copies no more rows of inboxes, and claims no more queued messages.
    pub(crate) fn stop_claiming(&mut self) {
        self.copiers.abort_all();
        if let Some((outbox, _)) = &self.current {
            outbox.outbox.stop_claiming();
        }
    }

    /// Stops the workers, and waits until the attempts under way have ended.
    ///
    /// # Cancel safety
    /// The workers go on to end. Call it again to wait.
    pub(crate) async fn stop(&mut self) {
        (self.current, self.sender) = (None, None);
        while self.tasks.join_next().await.is_some() {}
    }
}
