//! The inboxes of `wxsub outbox run`: that of `--inbox`, and that in the ledger's own database.

use std::future::pending;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wxsub_mysql::{InvalidUrl, MysqlInbox, MysqlOptions};
use wxsub_outbox::Outbox;
use wxsub_outbox::inbox::{InboxCopier, InboxError, InboxStatus, Rejected};
use wxsub_postgres::{PostgresInbox, PostgresOptions};

use crate::console;
use crate::environment::{self, INBOX_PASSWORD_FILE};
use crate::error::{CliError, ExitStatus};
use crate::language::{localized, shown};
use crate::ledger_file::is_postgres_url;

/// Where an inbox is.
pub(super) enum InboxOptions {
    Mysql(MysqlOptions),
    Postgres(PostgresOptions),
}

impl InboxOptions {
    /// Reads the URL.
    pub(super) fn read(url: &str) -> Result<Self, CliError> {
        let password_file = environment::path(INBOX_PASSWORD_FILE)?;
        if is_postgres_url(url) {
            let options = PostgresOptions::new(url);
            if options.has_password() {
                return Err(password_in_url());
            }
            return Ok(Self::Postgres(match password_file {
                Some(path) => options.password_file(path),
                None => options,
            }));
        }
        let options = MysqlOptions::new(url).map_err(|error| match error {
            InvalidUrl::Password => password_in_url(),
            error => CliError::usage(localized!(
                "--inbox: {error}",
                "--inbox：{error}",
                error = shown(&error.localized())
            )),
        })?;
        Ok(Self::Mysql(match password_file {
            Some(path) => options.password_file(path),
            None => options,
        }))
    }

    async fn connect(self, outbox: &Outbox) -> Result<InboxCopier, InboxError> {
        Ok(match self {
            Self::Mysql(options) => InboxCopier::new(outbox, MysqlInbox::connect(options).await?),
            Self::Postgres(options) => InboxCopier::new(outbox, PostgresInbox::connect(&options).await?),
        })
    }
}

fn password_in_url() -> CliError {
    let text = localized!(
        "--inbox: the URL has a password, which other users can see; put the password into a file, and name the file in \
         {INBOX_PASSWORD_FILE}",
        "--inbox：URL 中有密码，其他用户可以看到；请把密码写入文件，并在 {INBOX_PASSWORD_FILE} 中指定该文件"
    );
    CliError::usage(text)
}

/// The copier beside the worker. It ends with this.
pub(super) struct RunningInbox {
    task: JoinHandle<()>,
    reporter: InboxReporter,
}

impl RunningInbox {
    /// Connects and starts to copy.
    pub(super) async fn start(options: InboxOptions, outbox: &Outbox) -> Result<Self, CliError> {
        let copier = options.connect(outbox).await.map_err(|error| {
            let exit = match error {
                InboxError::Refused(_) => ExitStatus::Usage,
                _ => ExitStatus::NotSent,
            };
            CliError::new(exit, shown(&error.localized()))
        })?;
        let reporter = InboxReporter::new(copier.status());
        Ok(Self { task: tokio::spawn(copier.run(pending())), reporter })
    }

    /// Whether all rows were copied, but those with an error.
    pub(super) fn is_empty(&self) -> bool {
        self.reporter.is_empty()
    }
}

impl Drop for RunningInbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for a change of the inbox, and reports it. Never ends without an inbox.
///
/// # Cancel safety
/// No change is lost.
pub(super) async fn report(inbox: &mut Option<RunningInbox>) {
    match inbox {
        Some(inbox) => inbox.reporter.report().await,
        None => pending().await,
    }
}

/// Reports rejected rows, rows of other apps, and failures of an inbox.
pub(super) struct InboxReporter {
    status: watch::Receiver<InboxStatus>,
    /// The status that was reported last.
    reported: InboxStatus,
}

impl InboxReporter {
    pub(super) fn new(status: watch::Receiver<InboxStatus>) -> Self {
        Self { status, reported: InboxStatus::default() }
    }

    /// Whether no row waits that can be recorded here.
    pub(super) fn is_empty(&self) -> bool {
        let status = self.status.borrow();
        status.is_empty && status.error.is_none()
    }

    /// Waits for a change of the status, and reports it.
    ///
    /// # Cancel safety
    /// No change is lost.
    pub(super) async fn report(&mut self) {
        let Self { status, reported } = self;
        if status.changed().await.is_err() {
            // The copier has ended with its runtime.
            return pending().await;
        }
        let now = status.borrow_and_update().clone();
        if let Some(Rejected { id, error }) =
            now.last_rejected.as_ref().filter(|_| now.rejected > reported.rejected)
        {
            let (id, others) = (id.escape_debug(), now.rejected - reported.rejected - 1);
            console::warning(localized!(
                "inbox: row {id} stays in the table, and {others} others: {error}; correct each and set its error to NULL, or \
                 delete it",
                "inbox：行 {id} 及另外 {others} 行仍留在表中：{error}；请逐行更正后把 error 设为 NULL，或删除"
            ));
        }
        let foreign = now.foreign_rows;
        if foreign > reported.foreign_rows {
            console::warning(localized!(
                "inbox: rows of other apps: {foreign}; they wait until a worker serves their app",
                "inbox：属于其他应用的行：{foreign}；要等到有 worker 处理这些应用时才会发送"
            ));
        }
        match (&now.error, &reported.error) {
            (Some(error), None) => console::warning(shown(&error.localized())),
            (None, Some(_)) => console::note(localized!("inbox: available again", "inbox：已恢复")),
            _ => {}
        }
        *reported = now;
    }
}
