//! Stop signals: Ctrl-C, SIGTERM, and for some commands SIGHUP.

use std::future::pending;
#[cfg(unix)]
use std::{future::poll_fn, io, task::Poll};

use tokio::sync::watch;
use wxsub_proto::LocalizedText;

use crate::console;
use crate::error::CliError;
#[cfg(unix)]
use crate::language::localized;
use crate::language::shown;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Counts the stop signals.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<Received>);

/// The signals so far.
#[derive(Debug, Clone, Copy, Default)]
struct Received {
    count: u32,
    /// Whether the note about the first signal is being printed.
    is_noting: bool,
}

impl Interrupt {
    /// Counts Ctrl-C and SIGTERM from now on, and prints `note` at the first one. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the signal handlers cannot be installed.
    pub(crate) fn listen(note: Option<LocalizedText>) -> Result<Self, CliError> {
        Ok(Self::count(note, Signals::stop()?))
    }

    /// Like [`listen`](Self::listen), and counts SIGHUP too, unless it is ignored as under nohup.
    pub(crate) fn listen_with_hangup(note: Option<LocalizedText>) -> Result<Self, CliError> {
        Ok(Self::count(note, Signals::stop_or_hangup()?))
    }

    fn count(mut note: Option<LocalizedText>, mut signals: Signals) -> Self {
        let (sender, receiver) = watch::channel(Received::default());
        tokio::spawn(async move {
            loop {
                signals.next().await;
                if sender.is_closed() {
                    return;
                }
                let text = note.take();
                sender.send_modify(|received| {
                    received.count += 1;
                    received.is_noting = text.is_some();
                });
                if let Some(text) = text {
                    console::note(shown(&text));
                    sender.send_modify(|received| received.is_noting = false);
                }
            }
        });
        Self(receiver)
    }

    /// Counts the calls of a function in place of signals.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (impl Fn(), Self) {
        let (sender, receiver) = watch::channel(Received::default());
        (move || sender.send_modify(|received| received.count += 1), Self(receiver))
    }

    /// Whether there was a signal, which asks to stop.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.borrow().count >= 1
    }

    /// Waits for the first signal, which asks to stop.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn requested(&self) {
        self.wait_for(|received| received.count >= 1).await;
    }

    /// Waits until the note about the first signal is printed, if there was a signal. What is printed next comes after it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn noted(&self) {
        self.wait_for(|received| !received.is_noting).await;
    }

    /// Waits for the second signal, which asks to stop at once.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn forced(&self) {
        self.wait_for(|received| received.count >= 2).await;
    }

    async fn wait_for(&self, condition: impl FnMut(&Received) -> bool) {
        if self.0.clone().wait_for(condition).await.is_err() {
            // The counting task ended, so no more signals arrive.
            pending::<()>().await;
        }
    }
}

/// Signals of some kinds.
#[cfg(unix)]
pub(crate) struct Signals(Vec<Signal>);

#[cfg(unix)]
impl Signals {
    fn of(kinds: &[SignalKind]) -> Result<Self, CliError> {
        let signals: io::Result<_> = kinds.iter().map(|kind| signal(*kind)).collect();
        signals.map(Self).map_err(|error| {
            CliError::unexpected(localized!("signals cannot be handled: {error}", "无法处理信号：{error}"))
        })
    }

    fn stop() -> Result<Self, CliError> {
        Self::of(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    /// With SIGHUP, unless it is ignored. If the mask of ignored signals cannot be read, SIGHUP is not added.
    fn stop_or_hangup() -> Result<Self, CliError> {
        let mut signals = Self::stop()?;
        if std::fs::read_to_string("/proc/self/status").is_ok_and(|status| !ignores_hangup(&status)) {
            signals.0.append(&mut Self::hangup()?.0);
        }
        Ok(signals)
    }

    /// SIGHUP.
    ///
    /// # Errors
    ///
    /// If the signal handler cannot be installed.
    pub(crate) fn hangup() -> Result<Self, CliError> {
        Self::of(&[SignalKind::hangup()])
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        poll_fn(|context| {
            let mut arrived = self.0.iter_mut().map(|signal| signal.poll_recv(context));
            if arrived.any(|polled| polled == Poll::Ready(Some(()))) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// Whether the mask of ignored signals in `/proc/self/status` has SIGHUP, whose number is 1.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 != 0)
}

/// Ctrl-C, or nothing: SIGHUP does not exist here.
#[cfg(not(unix))]
pub(crate) struct Signals {
    has_ctrl_c: bool,
}

#[cfg(not(unix))]
impl Signals {
    fn stop() -> Result<Self, CliError> {
        Ok(Self { has_ctrl_c: true })
    }

    fn stop_or_hangup() -> Result<Self, CliError> {
        Self::stop()
    }

    pub(crate) fn hangup() -> Result<Self, CliError> {
        Ok(Self { has_ctrl_c: false })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        if !self.has_ctrl_c || tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn summary_waits_for_the_note_about_the_signal() {
        let (sender, receiver) = watch::channel(Received::default());
        let interrupt = Interrupt(receiver);
        interrupt.noted().await;
        sender.send_modify(|received| (received.count, received.is_noting) = (1, true));
        interrupt.requested().await;
        let mut noted = pin!(interrupt.noted());
        assert!(poll_fn(|context| Poll::Ready(noted.as_mut().poll(context).is_pending())).await);
        sender.send_modify(|received| received.is_noting = false);
        noted.await;
    }

    #[test]
    fn mask_shows_ignored_hangup() {
        for (status, ignored) in [
            ("Name:\twxsub\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n", true),
            ("Name:\twxsub\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n", false),
            ("Name:\twxsub\n", true),
            ("SigIgn:\tnonsense\n", true),
        ] {
            assert_eq!(ignores_hangup(status), ignored, "{status}");
        }
    }
}
