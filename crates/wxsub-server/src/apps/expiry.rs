//! What ends soon: the certificate, and client keys. The log warns of them each day.

use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_proto::{LocalizedText, localized_text};

use super::ServerState;
use crate::config::{ApiClient, Tls};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// From how long before its end a certificate or key is mentioned.
const NOTICE: Duration = Duration::from_secs(14 * 24 * 3600);

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

/// What to say of each key that has expired or ends soon.
pub(super) fn key_warnings<'a>(
    clients: impl Iterator<Item = &'a ApiClient>,
    now: UnixMillis,
) -> impl Iterator<Item = LocalizedText<String>> {
    let keys = clients.flat_map(|client| client.keys.iter().map(move |key| (&*client.name, key)));
    let with_end = keys.filter_map(|(client, key)| Some((client, key.digest, key.expires_at?)));
    let due = with_end.filter(move |(.., end)| end.before(NOTICE) <= now);
    due.map(move |(client, key, expires_at)| {
        let end = rfc3339::format(expires_at);
        match expires_at <= now {
            true => localized_text!(
                "the key {key} of the client {client} expired at {end} and is denied; replace it in keys if the client still uses it, or remove it",
                "客户端 {client} 的密钥 {key} 已于 {end} 到期，不再可用；客户端还在用就在 keys 中换成新密钥，否则请删除"
            ),
            false => localized_text!(
                "the key {key} of the client {client} expires at {end}; add a new one to keys and give it to the client",
                "客户端 {client} 的密钥 {key} 将于 {end} 到期；请在 keys 中添加新密钥，并交给该客户端"
            ),
        }
    })
}

impl ServerState {
    /// Warns of the certificate and the keys now, and then once a day.
    pub(crate) async fn watch_expiry(&self) {
        loop {
            self.warn_of_expiry();
            self.clock().sleep_until(self.clock().now().mono + DAY).await;
        }
    }

    /// Warns of the certificate and the keys that have ended or will soon.
    pub(crate) fn warn_of_expiry(&self) {
        let (snapshot, now) = (self.snapshot(), self.clock().now().wall);
        if let Some(text) = snapshot.tls.as_ref().and_then(|tls| certificate_warning(tls, now)) {
            tracing::warn!("tls_cert_file: {text}");
        }
        let clients = snapshot.clients.iter().map(|client| &*client.config);
        key_warnings(clients, now).for_each(|text| tracing::warn!("clients: {text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{read, with_app};

    #[test]
    fn key_is_mentioned_from_two_weeks_before_its_end() {
        let client = format!(
            "[[clients]]\nname = \"a\"\napps = []\nscopes = []\nkeys = [{{ sha256 = \"{}\", expires = 2027-01-31 }}, {{ sha256 = \"{}\" }}]\n",
            "0".repeat(64),
            "1".repeat(64)
        );
        let config = read(&with_app(&client)).unwrap().0;
        for (now, expected) in [
            ("2027-01-17T23:59:59Z", 0),
            ("2027-01-18T00:00:00Z", 1),
            ("2027-02-01T00:00:00Z", 1),
            ("2028-01-01T00:00:00Z", 1),
        ] {
            let now = rfc3339::parse(now).unwrap();
            assert_eq!(key_warnings(config.clients.iter(), now).count(), expected, "{now:?}");
        }
    }
}
