//! Ctrl-C, and SIGTERM, which counts as one.

use std::future::pending;
use std::io;

use tokio::sync::watch;

use crate::failure::Failure;
use crate::talk;

/// How often the user has asked to stop.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<u32>);

impl Interrupt {
    /// Counts from now on, and says this when it happens for the first time. Needs a runtime.
    pub(crate) fn listen(first: Option<&'static str>) -> Result<Self, Failure> {
        let cannot =
            |error: io::Error| Failure::unexpected(format_args!("signals cannot be handled: {error}"));
        let mut asked = Asked::new().map_err(cannot)?;
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            while asked.again().await && !count.is_closed() {
                count.send_modify(|times| *times += 1);
                if let (1, Some(text)) = (*count.borrow(), first) {
                    talk::note(text);
                }
            }
        });
        Ok(Self(counted))
    }

    /// Waits until the user asks to stop.
    pub(crate) async fn asked(&self) {
        self.times(1).await;
    }

    /// Waits until the user asks for the second time.
    pub(crate) async fn insisted(&self) {
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
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Asked {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one; `false` if there can be none.
    async fn again(&mut self) -> bool {
        tokio::select! {
            signal = self.interrupt.recv() => signal.is_some(),
            signal = self.terminate.recv() => signal.is_some(),
        }
    }
}

#[cfg(not(unix))]
struct Asked;

#[cfg(not(unix))]
impl Asked {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next one; `false` if there can be none.
    async fn again(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}
