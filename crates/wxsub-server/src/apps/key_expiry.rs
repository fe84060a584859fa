//! Warns of client keys that expire soon.

use tracing::warn;
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;

use super::ServerState;
use super::certificate::NOTICE;
use crate::config::{ApiClient, ClientKey};

impl ServerState {
    /// Warns of the keys that expire soon or have expired.
    pub(crate) fn warn_of_expiring_keys(&self) {
        let (snapshot, now) = (self.snapshot(), self.clock().now().wall);
        for (client, key, expires_at) in
            expiring_keys(snapshot.clients.iter().map(|client| &*client.config), now)
        {
            let (client, expires) = (&*client.name, rfc3339::format(expires_at));
            match expires_at <= now {
                true => {
                    warn!(client, key_sha256 = %key.digest, expires, "a client key has expired and is denied; remove it");
                }
                false => {
                    warn!(client, key_sha256 = %key.digest, expires, "a client key expires soon; add a new one to keys");
                }
            }
        }
    }
}

/// The keys that have expired or will within the notice period, with their end.
pub(super) fn expiring_keys<'a>(
    clients: impl Iterator<Item = &'a ApiClient>,
    now: UnixMillis,
) -> impl Iterator<Item = (&'a ApiClient, &'a ClientKey, UnixMillis)> {
    let keys = clients.flat_map(|client| client.keys.iter().map(move |key| (client, key)));
    let with_end = keys.filter_map(|(client, key)| Some((client, key, key.expires_at?)));
    with_end.filter(move |(.., end)| end.before(NOTICE) <= now)
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
            assert_eq!(expiring_keys(config.clients.iter(), now).count(), expected, "{now:?}");
        }
    }
}
