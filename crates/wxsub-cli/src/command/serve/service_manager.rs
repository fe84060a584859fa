//! Tells systemd what the server does. Does nothing without `NOTIFY_SOCKET`, and ignores errors: they change nothing for the
//! server.

#[cfg(unix)]
pub(super) use unix::{notify_ready, notify_reloaded, notify_reloading, notify_stopping};

#[cfg(unix)]
mod unix {
    use sd_notify::{NotifyState, notify};

    /// The server accepts connections.
    pub(crate) fn notify_ready() {
        let _ = notify(&[NotifyState::Ready]);
    }

    /// The server reads its configuration again.
    pub(crate) fn notify_reloading() {
        // systemd matches the reload with its request by this time.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            let _ = notify(&[NotifyState::Reloading, now]);
        }
    }

    /// The reload has ended. systemd shows the text until the next reload.
    pub(crate) fn notify_reloaded(succeeded: bool) {
        let text = match succeeded {
            true => "the configuration was reloaded",
            false => {
                "the configuration was not reloaded; the previous one stays in use; the log lists the errors"
            }
        };
        let _ = notify(&[NotifyState::Ready, NotifyState::Status(text)]);
    }

    /// The server finishes the requests in flight.
    pub(crate) fn notify_stopping() {
        let _ = notify(&[NotifyState::Stopping]);
    }
}

#[cfg(not(unix))]
pub(super) use other::{notify_ready, notify_reloaded, notify_reloading, notify_stopping};

#[cfg(not(unix))]
mod other {
    pub(crate) fn notify_ready() {}
    pub(crate) fn notify_reloading() {}
    pub(crate) fn notify_reloaded(_succeeded: bool) {}
    pub(crate) fn notify_stopping() {}
}
