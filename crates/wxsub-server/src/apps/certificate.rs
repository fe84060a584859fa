//! Warns of a certificate that ends soon, and each day also of such client keys.

use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_proto::{LocalizedText, localized_text};

use super::ServerState;
use crate::config::Tls;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// From how long before the end of a certificate or key the log warns of it.
pub(super) const NOTICE: Duration = Duration::from_secs(14 * 24 * 3600);

/// What to say of the certificate at this time, if it is not valid or ends soon.
pub(crate) fn certificate_warning(tls: &Tls, now: UnixMillis) -> Option<LocalizedText<String>> {
    let (from, until) = (rfc3339::format(tls.valid_from), rfc3339::format(tls.valid_until));
    match now {
        now if now < tls.valid_from => Some(localized_text!(
            "the certificate is valid only from {from}; check the clock",
            "证书自 {from} 起才有效；请检查本机时间"
        )),
        now if now >= tls.valid_until => Some(localized_text!(
            "the certificate ended at {until}; renew it and send SIGHUP",
            "证书已于 {until} 过期；请更换证书，然后发送 SIGHUP"
        )),
        now if now >= tls.valid_until.before(NOTICE) => Some(localized_text!(
            "the certificate ends at {until}; renew it and send SIGHUP",
            "证书将于 {until} 过期；请更换证书，然后发送 SIGHUP"
        )),
        _ => None,
    }
}

impl ServerState {
    /// Warns of the certificate and the keys now, and then once a day.
    pub(crate) async fn watch_expiry(&self) {
        loop {
            self.warn_of_certificate();
            self.warn_of_expiring_keys();
            self.clock().sleep_until(self.clock().now().mono + DAY).await;
        }
    }

    /// Warns if the certificate ends soon.
    pub(crate) fn warn_of_certificate(&self) {
        let (snapshot, now) = (self.snapshot(), self.clock().now().wall);
        if let Some(text) = snapshot.tls.as_ref().and_then(|tls| certificate_warning(tls, now)) {
            tracing::warn!("tls_cert_file: {text}");
        }
    }
}
