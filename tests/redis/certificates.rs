//! A Redis with TLS and a new certificate authority.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use wxsub_test_support::{Redis, free_port};

pub(super) struct Behind {
    pub(super) redis: Redis,
    pub(super) tls_port: u16,
    /// The certificate authority to trust, as PEM.
    pub(super) authority: String,
}

/// A certificate authority of this name, as PEM, and its signing key.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

/// Another certificate authority, which is not trusted.
pub(super) fn unknown_authority() -> String {
    authority("unknown").0
}

impl Behind {
    pub(super) fn tls() -> Self {
        let (authority, issuer) = authority("ours");
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let tls_port = free_port();
        let file = |name: &str, text: &str| {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{tls_port}-{name}.pem"));
            fs::write(&path, text).unwrap();
            path.into_os_string().into_string().unwrap()
        };
        let (certificate, secret) = (file("certificate", &certificate), file("key", &key.serialize_pem()));
        let redis = Redis::with(&[
            "--tls-port",
            &tls_port.to_string(),
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &secret,
            "--tls-ca-cert-file",
            &file("authority", &authority),
            "--tls-auth-clients",
            "no",
        ]);
        Self { redis, tls_port, authority }
    }

    /// Its address, for this user.
    pub(super) fn address(&self, user: &str) -> String {
        format!("rediss://{user}127.0.0.1:{}/0", self.tls_port)
    }
}
