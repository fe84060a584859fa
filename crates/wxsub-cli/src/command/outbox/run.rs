//! `wxsub outbox run`: the worker of a ledger.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use tokio::sync::oneshot;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::view::MessageView;
use wxsub_outbox::{App, Outbox};
use wxsub_proto::{AppId, OpenId};

use super::super::send::{FINISHING, Rate};
use super::inbox::{InboxOptions, InboxReporter, RunningInbox, report};
use crate::backend::DirectConfig;
use crate::console;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::interrupt::Interrupt;
use crate::language::{localized, shown};
use crate::ledger_file::{ledger_place, now, open_existing, open_or_create};
use crate::output::Output;

/// How often an idle worker looks whether the queue is empty.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Send what is due, until Ctrl-C.
///
/// Prints each message that becomes final. A message that may have been sent is never sent again by itself.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The ledger: a SQLite file, or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "LEDGER", value_parser = ledger_place())]
    outbox: PathBuf,
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// End when no message is queued any more; one that is due later is waited for
    #[arg(long)]
    until_empty: bool,
    /// Maximum number of messages in flight
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Post at most N messages a second (N/s) or a minute (N/m)
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Timeout of one message in seconds, with the token call
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Also copy the rows of the application's table wxsub_inbox: mysql://USER@HOST:PORT/DATABASE, or postgres://USER@HOST/DATABASE
    ///
    /// The password is in the file that WXSUB_INBOX_PASSWORD_FILE names. The table in a ledger's own PostgreSQL needs no flag.
    /// docs/inbox.md says more.
    #[arg(long, value_name = "URL")]
    inbox: Option<String>,
    /// Print each message as one JSON object
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) async fn run(self) -> Result<ExitStatus, CliError> {
        let inbox = self.inbox.as_deref().map(InboxOptions::read).transpose()?;
        let config = UsageErrors::check(|usage| DirectConfig::read_for_worker(self.appid.as_deref(), usage))?;
        let appid = config.appid.clone();
        let client = config.client(Duration::from_secs(self.timeout))?;
        let slots = NonZeroUsize::new(self.concurrency.into()).unwrap_or(NonZeroUsize::MIN);
        let mut app = App::new(appid.clone(), client).concurrency(slots);
        if let Some(rate) = self.rate {
            app = rate.limit(app);
        }
        // The first rows may come before anything else was recorded.
        let ledger = match &inbox {
            Some(_) => open_or_create(&self.outbox).await?,
            None => open_existing(&self.outbox).await?,
        };
        let outbox = Outbox::with_ledger(ledger).app(app).build();
        let mut inbox = match inbox {
            Some(options) => Some(RunningInbox::start(options, &outbox).await?),
            None => None,
        };
        // Until here a signal ends the process, because nothing is in flight.
        let interrupt = Interrupt::listen_with_hangup(Some(FINISHING))?;
        let exit = self.work(&outbox, &appid, &interrupt, &mut inbox).await?;
        interrupt.noted().await;
        Ok(exit)
    }

    async fn work(
        &self,
        outbox: &Outbox,
        appid: &AppId,
        interrupt: &Interrupt,
        inbox: &mut Option<RunningInbox>,
    ) -> Result<ExitStatus, CliError> {
        let (clock, mut outcomes, mut output) = (SystemClock::new(), outbox.outcomes(), Output::new());
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = outbox.clone();
        let mut working = tokio::spawn(async move { worker.run(async { drop(stopped.await) }).await });
        let mut stop = Some(stop);
        let (mut own_inbox, mut is_readable) = (InboxReporter::new(outbox.inbox_status()), true);
        loop {
            let next_look = clock.now().mono + LOOK_INTERVAL;
            tokio::select! {
                biased;
                outcome = outcomes.next() => match outcome {
                    Ok(message) => self.print(&message, &mut output),
                    Err(missed) => console::warning(shown(&missed.localized())),
                },
                ended = &mut working => match ended {
                    Ok(ended) => {
                        ended?;
                        break;
                    }
                    Err(error) => {
                        return Err(CliError::unexpected(localized!(
                            "the worker has ended: {error}",
                            "worker 已结束：{error}"
                        )));
                    }
                },
                () = interrupt.requested(), if stop.is_some() => (stop, *inbox) = (None, None),
                () = report(inbox), if inbox.is_some() => {}
                () = own_inbox.report() => {}
                () = interrupt.forced() => {
                    working.abort();
                    return Ok(output.end(ExitStatus::MaybeSent));
                }
                () = clock.sleep_until(next_look), if self.until_empty && stop.is_some() => {
                    let app = outbox.ledger().app(appid).await;
                    let is_copied = inbox.as_ref().is_none_or(RunningInbox::is_empty) && own_inbox.is_empty();
                    match &app {
                        Ok(app) if is_copied && app.counts.keys().all(|state| state.is_final()) => {
                            (stop, *inbox) = (None, None);
                        }
                        // The worker goes on, too.
                        Err(error) if is_readable => console::warning(shown(&error.localized())),
                        _ => {}
                    }
                    is_readable = app.is_ok();
                }
            }
        }
        Ok(output.end(ExitStatus::Success))
    }

    fn print(&self, message: &StoredMessage, output: &mut Output) {
        if self.json {
            output.json(&MessageView::new(message, &wxsub_outbox::app::StoredApp::default(), now()));
        } else {
            let user = message.touser.as_ref().map_or("", OpenId::as_str);
            let reason = message.reason.map(|reason| format!(", {reason}")).unwrap_or_default();
            let why = match (message.state, &message.detail.errmsg) {
                (MessageState::Sent, _) | (_, None) => String::new(),
                (_, Some(text)) => format!(": {text}"),
            };
            output.line(format_args!("{} {}{reason} to {user}{why}", message.id, message.state));
        }
        output.flush();
    }
}
