//! Ctrl-C, and the signals that count as one: SIGTERM, and for some commands SIGHUP.

use std::future::pending;
use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::console;
use crate::error::CliError;

/// How often the user has asked to stop.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<u32>);

impl Interrupt {
    /// Counts Ctrl-C and SIGTERM from now on, and says this when one comes for the first time. Needs a runtime.
    pub(crate) fn listen(first: Option<&'static str>) -> Result<Self, CliError> {
        Self::count(first, Asked::new())
    }

    /// Counts SIGHUP too, unless it is ignored, as under nohup. Needs a runtime.
    pub(crate) fn listen_with_hangup(first: Option<&'static str>) -> Result<Self, CliError> {
        Self::count(first, Asked::new().and_then(Asked::with_hangup))
    }

    fn count(first: Option<&'static str>, asked: io::Result<Asked>) -> Result<Self, CliError> {
        let cannot =
            |error: io::Error| CliError::unexpected(format_args!("signals cannot be handled: {error}"));
        let mut asked = asked.map_err(cannot)?;
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            while asked.again().await && !count.is_closed() {
                count.send_modify(|times| *times += 1);
                if let (1, Some(text)) = (*count.borrow(), first) {
                    console::note(text);
                }
            }
        });
        Ok(Self(counted))
    }

    /// Waits until the user asks to stop.
    pub(crate) async fn requested(&self) {
        self.times(1).await;
    }

    /// Waits until the user asks for the second time.
    pub(crate) async fn forced(&self) {
        self.times(2).await;
    }

    async fn times(&self, wanted: u32) {
        if self.0.clone().wait_for(|times| *times >= wanted).await.is_err() {
            // Nobody counts any more.
            pending::<()>().await;
        }
    }
}

/// The signals themselves.
#[cfg(unix)]
struct Asked {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

#[cfg(unix)]
impl Asked {
    fn new() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup: None })
    }

    /// With SIGHUP, unless it is ignored. Where that cannot be read, SIGHUP keeps its effect.
    fn with_hangup(self) -> io::Result<Self> {
        let ignored =
            std::fs::read_to_string("/proc/self/status").map_or(true, |status| ignores_hangup(&status));
        let hangup = if ignored { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { hangup, ..self })
    }

    /// Waits for the next one; `false` if there can be none.
    async fn again(&mut self) -> bool {
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
struct Asked;

#[cfg(not(unix))]
impl Asked {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// There is no SIGHUP here.
    fn with_hangup(self) -> io::Result<Self> {
        Ok(self)
    }

    /// Waits for the next one; `false` if there can be none.
    async fn again(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::ignores_hangup;

    #[test]
    fn an_ignored_hangup_is_seen_in_the_mask() {
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
