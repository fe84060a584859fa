//! A `wxsub serve`, and the sandboxes that it calls.

use std::fs;
use std::future::pending;
use std::io::{BufRead, BufReader};
use std::iter::once;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use wxsub_sandbox::{Fault, Sandbox, http};
use wxsub_server::{ApiKeyDigest, generate_api_key};

use super::attack::Attack;
use super::honest::ask;

/// A server. It ends when this is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The key of the honest client, and that of the attacker.
    pub(crate) keys: [String; 2],
    /// How to connect, if the server has TLS.
    pub(crate) tls: Option<TlsConnector>,
    audit: NamedTempFile,
    _files: [NamedTempFile; 3],
}

/// An app whose messages get no response of Weixin.
pub(crate) const SILENT_APP: &str = "wx2";

/// Starts a sandbox with these apps. Returns its base URL.
async fn start_weixin(sandbox: &Sandbox, apps: &[String]) -> String {
    for app in apps {
        sandbox.add_app(app.parse().unwrap(), "secret".parse().unwrap(), ["T".parse().unwrap()]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::serve(listener, sandbox.clone(), pending()));
    format!("http://{address}")
}

impl Served {
    /// Starts it with the default limits, an audit file, and what the attack needs. Waits for its tokens.
    pub(crate) async fn start(wxsub: &str, attack: &Attack) -> Self {
        let apps: Vec<String> = once("wx1".to_owned())
            .chain((0..attack.more_apps).map(|number| format!("wx{number:016x}")))
            .collect();
        let (weixin, silent) = (Sandbox::new(), Sandbox::new());
        silent.add_fault("/cgi-bin/message/template/subscribe", 1 << 20, Fault::Hang);
        let base = start_weixin(&weixin, &apps).await;
        let silent_base = start_weixin(&silent, &[SILENT_APP.to_owned()]).await;
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
        let silent_app = (SILENT_APP.to_owned(), &silent_base);
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
        let mut child = Command::new(wxsub)
            .args(["serve", "--config"])
            .arg(config.path())
            .env("APP_SECRET", "secret")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut base = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut base).unwrap();
        let address = base.trim_end().rsplit('/').next().unwrap().parse().unwrap();
        let keys = keys.map(|key| key.expose_secret().to_owned());
        let served = Self { child, address, keys, tls, audit, _files: [config, certificate, private_key] };
        while served.metrics().await.lines().any(has_no_token) {}
        served
    }

    pub(crate) async fn metrics(&self) -> String {
        ask(self, "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await
    }

    /// The first message of a TLS handshake. The server responds to it as often as it gets it.
    pub(crate) fn client_hello(&self) -> Vec<u8> {
        let config = Arc::clone(self.tls.as_ref().unwrap().config());
        let mut client = ClientConnection::new(config, ServerName::from(self.address.ip())).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    /// The bytes of the audit, and its lines about requests that the server refused.
    pub(crate) fn audit(&self) -> (usize, usize) {
        let text = fs::read_to_string(self.audit.path()).unwrap();
        let refused =
            ["denied", "rate_limited", "overloaded"].map(|outcome| format!("\"outcome\":\"{outcome}\""));
        let is_refused = |line: &&str| refused.iter().any(|outcome| line.contains(outcome));
        (text.len(), text.lines().filter(is_refused).count())
    }

    /// A number of `/proc/PID/status`, in MiB.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
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

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
