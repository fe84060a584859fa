//! A Redis with TLS and a new certificate authority.

use std::fs;

use tempfile::TempDir;
use wxsub_test_support::{Authority, Redis, free_port, memory_folder};

pub(super) struct Behind {
    pub(super) redis: Redis,
    pub(super) tls_port: u16,
    /// The certificate authority to trust, as PEM.
    pub(super) authority: String,
    _folder: TempDir,
}

impl Behind {
    pub(super) fn tls() -> Self {
        let (authority, folder, tls_port) = (Authority::new("ours"), memory_folder(), free_port());
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.into_os_string().into_string().unwrap()
        };
        let [certificate, key] = authority.certify("127.0.0.1");
        let redis = Redis::with(&[
            "--tls-port",
            &tls_port.to_string(),
            "--tls-cert-file",
            &file("certificate", &certificate),
            "--tls-key-file",
            &file("key", &key),
            "--tls-ca-cert-file",
            &file("authority", &authority.pem),
            "--tls-auth-clients",
            "no",
        ]);
        Self { redis, tls_port, authority: authority.pem, _folder: folder }
    }

    /// Its address, for this user.
    pub(super) fn address(&self, user: &str) -> String {
        format!("rediss://{user}127.0.0.1:{}/0", self.tls_port)
    }
}
