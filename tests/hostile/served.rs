//! A `wxsub serve` on a core of its own.

use std::fs;
use std::iter::once;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::NamedTempFile;
use tokio_rustls::TlsConnector;
use wxsub_sandbox::Sandbox;
use wxsub_server::{ApiKeyDigest, generate_api_key};
use wxsub_test_support::{Process, Stream, proc_fs};

use super::attack::{Attack, Target};
use super::attacker::Attacker;
use super::honest::ask;
use super::weixin::start_weixin;

/// A server. It ends when this is dropped.
pub(crate) struct Served {
    process: Process,
    pub(crate) address: SocketAddr,
    /// The key of the honest client, and that of the attacker.
    pub(crate) keys: [String; 2],
    /// How to connect, if the server has TLS.
    pub(crate) tls: Option<TlsConnector>,
    audit: NamedTempFile,
    _files: [NamedTempFile; 3],
}

/// The core of the server.
const SERVER_CORE: &str = "0";

/// An app whose messages get no response of Weixin.
pub(crate) const SILENT_APP: &str = "wx2";

impl Served {
    /// Starts it with the default limits, an audit file, and what the attack needs. Waits for its tokens.
    pub(crate) async fn start(wxsub: &str, attack: &Attack, attacker: &Attacker) -> Self {
        let apps: Vec<String> = once("wx1".to_owned())
            .chain((0..attack.more_apps).map(|number| format!("wx{number:016x}")))
            .collect();
        let base = start_weixin(&Sandbox::new(), &apps).await;
        let keys = [generate_api_key().unwrap(), generate_api_key().unwrap()];
        let audit = NamedTempFile::new().unwrap();
        let mut text = format!("listen = \"127.0.0.1:0\"\naudit = {:?}\n", audit.path());
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let [config, certificate, private_key] = [(); 3].map(|()| NamedTempFile::new().unwrap());
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&private_key, made.signing_key.serialize_pem()).unwrap();
        let tls = attack.uses_tls().then(|| {
            text += &format!(
                "tls_cert_file = {:?}\ntls_key_file = {:?}\n",
                certificate.path(),
                private_key.path()
            );
            connector(made.cert.der())
        });
        let silent_app = (SILENT_APP.to_owned(), &attacker.silent_weixin);
        for (app, base) in apps.into_iter().map(|app| (app, &base)).chain([silent_app]) {
            text += &format!(
                "[[apps]]\nappid = \"{app}\"\nsecret_env = \"APP_SECRET\"\ntoken_endpoint = \"token\"\n\
                 api_base = \"{base}\"\n"
            );
        }
        for (name, key) in ["honest", "attacker"].into_iter().zip(&keys) {
            text += &format!(
                "[[clients]]\nname = \"{name}\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
                 scopes = [\"token:read\", \"token:report\", \"message:send\"]\n",
                ApiKeyDigest::of(key)
            );
        }
        fs::write(&config, text).unwrap();
        // taskset replaces itself by the program that it starts.
        let mut server = Command::new("taskset");
        server
            .args(["--cpu-list", SERVER_CORE, wxsub, "serve", "--config"])
            .arg(config.path())
            .env("APP_SECRET", "secret")
            .stderr(Stdio::null());
        let process = Process::start(&mut server, Stream::Stdout, "");
        let address = process.ready.rsplit('/').next().unwrap().parse().unwrap();
        let keys = keys.map(|key| key.expose_secret().to_owned());
        let served = Self { process, address, keys, tls, audit, _files: [config, certificate, private_key] };
        while served.metrics().await.lines().any(has_no_token) {}
        served
    }

    pub(crate) async fn metrics(&self) -> String {
        ask(self, "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await
    }

    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, key: self.keys[1].clone() }
    }

    /// The bytes of the audit, and its lines about requests that the server refused.
    pub(crate) fn audit(&self) -> (usize, usize) {
        let text = fs::read_to_string(self.audit.path()).unwrap();
        let refused =
            ["denied", "rate_limited", "overloaded"].map(|outcome| format!("\"outcome\":\"{outcome}\""));
        let is_refused = |line: &&str| refused.iter().any(|outcome| line.contains(outcome));
        (text.len(), text.lines().filter(is_refused).count())
    }

    /// Resident memory now, and its peak, in MiB.
    pub(crate) fn memory(&self) -> [f64; 2] {
        let process = self.process.id();
        [proc_fs::resident(&process), proc_fs::peak(&process)].map(|kib| kib.unwrap() as f64 / 1024.0)
    }
}

/// Trusts this certificate only.
fn connector(certificate: &CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

/// Whether this line of the metrics is about an app without a token.
fn has_no_token(line: &str) -> bool {
    line.starts_with("wxsub_token_generation{") && line.ends_with(" 0")
}
