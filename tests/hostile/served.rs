//! A `wxsub serve`, and the sandbox that it calls.

use std::fs;
use std::future::pending;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use wxsub_sandbox::{Sandbox, http};
use wxsub_server::{ApiKeyDigest, generate_api_key};

/// A server. It ends when this is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) sandbox: Sandbox,
    /// The key of the honest client, and that of the attacker.
    pub(crate) keys: [String; 2],
    _config: NamedTempFile,
}

impl Served {
    /// Starts it, with the default limits and an audit file.
    pub(crate) async fn start(wxsub: &str) -> Self {
        let sandbox = Sandbox::new();
        sandbox.add_app("wx1".parse().unwrap(), "secret".parse().unwrap(), ["T".parse().unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let weixin = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, sandbox.clone(), pending()));
        let keys = [generate_api_key().unwrap(), generate_api_key().unwrap()];
        let mut text = format!(
            "listen = \"127.0.0.1:0\"\naudit = \"/dev/null\"\n[[apps]]\nappid = \"wx1\"\nsecret_env = \"APP_SECRET\"\n\
             token_endpoint = \"token\"\napi_base = \"http://{weixin}\"\n"
        );
        for (name, key) in ["honest", "attacker"].into_iter().zip(&keys) {
            text += &format!(
                "[[clients]]\nname = \"{name}\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
                 scopes = [\"token:read\", \"token:report\", \"message:send\"]\n",
                ApiKeyDigest::of(key)
            );
        }
        let config = NamedTempFile::new().unwrap();
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
        let address = base.trim_end().strip_prefix("http://").unwrap().parse().unwrap();
        let keys = keys.map(|key| key.expose_secret().to_owned());
        Self { child, address, sandbox, keys, _config: config }
    }

    /// A number of `/proc/PID/status`, in MiB.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
