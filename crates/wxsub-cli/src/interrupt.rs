//! Stop signals: Ctrl-C, SIGTERM, and for some commands SIGHUP.

use std::future::pending;
use std::io;

use tokio::sync::watch;
use wxsub_proto::LocalizedText;

use crate::console;
use crate::error::CliError;
use crate::language::{localized, shown};
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
        Self::count(note, StopSignals::new())
    }

    /// Like [`listen`](Self::listen), and counts SIGHUP too, unless it is ignored as under nohup.
    pub(crate) fn listen_with_hangup(note: Option<LocalizedText>) -> Result<Self, CliError> {
        Self::count(note, StopSignals::new().and_then(StopSignals::with_hangup))
    }

    fn count(note: Option<LocalizedText>, signals: io::Result<StopSignals>) -> Result<Self, CliError> {
        let cannot = |error: io::Error| {
            CliError::unexpected(localized!("signals cannot be handled: {error}", "无法处理信号：{error}"))
        };
        let mut signals = signals.map_err(cannot)?;
        let (sender, receiver) = watch::channel(Received::default());
        tokio::spawn(async move {
            let mut note = note;
            while signals.next().await && !sender.is_closed() {
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
        Ok(Self(receiver))
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

/// The signals.
#[cfg(unix)]
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

#[cfg(unix)]
impl StopSignals {
    fn new() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup: None })
    }

    /// Adds SIGHUP, unless it is ignored. If the mask of ignored signals cannot be read, SIGHUP is not added.
    fn with_hangup(self) -> io::Result<Self> {
        let ignored =
            std::fs::read_to_string("/proc/self/status").map_or(true, |status| ignores_hangup(&status));
        let hangup = if ignored { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { hangup, ..self })
    }

    /// Waits for the next signal; `false` if no more can arrive.
    async fn next(&mut self) -> bool {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            signal = self.interrupt.recv() => signal.is_some(),
            signal = self.terminate.recv() => signal.is_some(),
            signal = hangup => signal.is_some(),
        }
    }
}

/// Whether the mask of ignored signals in `/proc/self/status` has SIGHUP, whose number is 1.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 != 0)
}

#[cfg(not(unix))]
struct StopSignals;

#[cfg(not(unix))]
impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Does nothing, because SIGHUP does not exist here.
    fn with_hangup(self) -> io::Result<Self> {
        Ok(self)
    }

    /// Waits for the next signal; `false` if no more can arrive.
    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

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
