//! Tells systemd what the server does. Does nothing without `NOTIFY_SOCKET`, and ignores errors: they change nothing for the
//! server.

/// A message to systemd.
pub(super) enum Notification {
    /// The server accepts connections.
    Ready,
    /// The server reads its configuration again.
    Reloading,
    /// The reload has ended. systemd shows the text until the next reload.
    Reloaded { succeeded: bool },
    /// The server finishes the requests in flight.
    Stopping,
}

#[cfg(unix)]
pub(super) fn notify(notification: &Notification) {
    use sd_notify::{NotifyState, notify};
    let _ = match notification {
        Notification::Ready => notify(&[NotifyState::Ready]),
        // systemd matches the reload with its request by this time.
        Notification::Reloading => {
            NotifyState::monotonic_usec_now().and_then(|now| notify(&[NotifyState::Reloading, now]))
        }
        Notification::Reloaded { succeeded } => {
            let text = match succeeded {
                true => "the configuration was reloaded",
                false => {
                    "the configuration was not reloaded; the previous one stays in use; the log lists the errors"
                }
            };
            notify(&[NotifyState::Ready, NotifyState::Status(text)])
        }
        Notification::Stopping => notify(&[NotifyState::Stopping]),
    };
}

#[cfg(not(unix))]
pub(super) fn notify(_: &Notification) {}
