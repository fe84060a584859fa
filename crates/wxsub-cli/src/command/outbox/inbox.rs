//! The inbox of `wxsub outbox run --inbox`.

use std::future::pending;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wxsub_mysql::{MysqlInbox, MysqlOptions};
use wxsub_outbox::Outbox;
use wxsub_outbox::inbox::{InboxCopier, InboxError, InboxStatus, Rejected};

use crate::error::{CliError, ExitStatus};
use crate::language::{localized, shown};
use crate::{console, environment};

/// The file with the password of the database.
const PASSWORD_FILE: &str = "WXSUB_INBOX_PASSWORD_FILE";

/// The copier beside the worker. It ends with this.
pub(super) struct RunningInbox {
    task: JoinHandle<()>,
    status: watch::Receiver<InboxStatus>,
    /// What was reported last.
    reported: InboxStatus,
}

impl RunningInbox {
    /// Where the inbox is.
    pub(super) fn options(url: &str) -> Result<MysqlOptions, CliError> {
        let options = MysqlOptions::new(url).map_err(|error| {
            CliError::new(ExitStatus::Usage, format_args!("--inbox: {}", shown(&error.localized())))
        })?;
        Ok(match environment::value_lossy(PASSWORD_FILE) {
            Some(path) => options.password_file(path),
            None => options,
        })
    }

    /// Connects and starts to copy.
    pub(super) async fn start(options: MysqlOptions, outbox: &Outbox) -> Result<Self, CliError> {
        let inbox = MysqlInbox::connect(options).await.map_err(|error| {
            let exit = match error {
                InboxError::Refused(_) => ExitStatus::Usage,
                _ => ExitStatus::NotSent,
            };
            CliError::new(exit, shown(&error.localized()))
        })?;
        let copier = InboxCopier::new(outbox, inbox);
        let status = copier.status();
        Ok(Self { task: tokio::spawn(copier.run(pending())), status, reported: InboxStatus::default() })
    }

    /// Whether all rows were copied, but those with an error.
    pub(super) fn is_empty(&self) -> bool {
        let status = self.status.borrow();
        status.is_empty && status.error.is_none()
    }
}

impl Drop for RunningInbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for news of the inbox, and says them.
///
/// # Cancel safety
/// No news are lost.
pub(super) async fn report(inbox: &mut Option<RunningInbox>) {
    let Some(RunningInbox { status, reported, .. }) = inbox else { return pending().await };
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
            "inbox: row {id} stays in the table, and {others} others: {error}",
            "inbox：记录 {id} 及另外 {others} 条仍留在表中：{error}"
        ));
    }
    match (&now.error, &reported.error) {
        (Some(error), None) => console::warning(shown(&error.localized())),
        (None, Some(_)) => console::note(localized!("inbox: available again", "inbox：已恢复")),
        _ => {}
    }
    *reported = now;
}
