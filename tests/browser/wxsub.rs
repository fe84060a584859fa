//! The binary `wxsub`: a running sandbox, and other commands that use it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use wxsub_test_support::{Process, Stream};

use super::exchange::exchange;

pub(super) const APPID: &str = "wx0123456789abcdef";
pub(super) const TEMPLATE: &str = "TEMPLATE-1";
/// The default user of the consent page.
pub(super) const USER: &str = "oSandbox-wx0123456789abcdef";
/// The `reserved` value of the tests.
pub(super) const RESERVED: &str = "proof1";
const SECRET: &str = "sandbox-secret";

/// The binary, built from the current code.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // This test is in <target>/<profile>/deps.
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).unwrap();
        let target = profile.parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--package", "wxsub-cli", "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "wxsub cannot be built");
        profile.join("wxsub")
    })
}

/// A running `wxsub sandbox` with one app. It ends when this is dropped.
pub(super) struct Sandbox {
    _process: Process,
    pub(super) base: String,
}

impl Sandbox {
    pub(super) fn start() -> Self {
        let app = format!("{APPID}:{SECRET}");
        let mut sandbox = Command::new(binary());
        sandbox.args(["sandbox", "--listen", "127.0.0.1:0", "--app", &app, "--template", TEMPLATE]);
        let process = Process::start(sandbox.stderr(Stdio::null()), Stream::Stdout, "");
        Self { base: process.ready.clone(), _process: process }
    }

    pub(super) fn port(&self) -> u16 {
        self.base.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// The callback address of an app at another site: this sandbox under another host name. The page shows the callback.
    pub(super) fn callback_url(&self) -> String {
        format!("http://localhost:{}/callback?order=1", self.port())
    }

    /// Runs a `wxsub` command against it.
    pub(super) fn wxsub(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .env_clear()
            .env("WXSUB_API_BASE", &self.base)
            .env("WXSUB_MP_BASE", &self.base)
            .env("WXSUB_APPID", APPID)
            .env("WXSUB_SECRET", SECRET)
            .output()
            .unwrap()
    }

    /// The consent URL of the app at the other site.
    pub(super) fn consent_url(&self, scene: &str) -> String {
        let line = format!(
            "consent url --template {TEMPLATE} --scene {scene} --redirect {} --reserved {RESERVED}",
            self.callback_url()
        );
        let output = self.wxsub(&line.split(' ').collect::<Vec<_>>());
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Sends a message to this user. Returns the exit code and the errcode.
    pub(super) fn send(
        &self,
        to: &str,
        scene: &str,
        title: &str,
        content: &str,
    ) -> (Option<i32>, Option<i64>) {
        let line = format!(
            "send --json --to {to} --template {TEMPLATE} --scene {scene} --color #D4380D \
             --url https://shop.example/parcels/42 --title"
        );
        let arguments: Vec<_> = line.split(' ').chain([title, "--content", content]).collect();
        let output = self.wxsub(&arguments);
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), shown["errcode"].as_i64())
    }

    /// Calls Weixin's API.
    pub(super) fn get(&self, path: &str) -> Value {
        serde_json::from_str(&exchange(self.port(), "GET", path, "").unwrap()).unwrap()
    }

    /// A classic token.
    pub(super) fn token(&self) -> String {
        let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APPID}&secret={SECRET}");
        self.get(&path)["access_token"].as_str().unwrap().to_owned()
    }

    /// The errcode of a call with this token; null if it is valid.
    pub(super) fn errcode_of(&self, token: &str) -> Value {
        self.get(&format!("/cgi-bin/get_api_domain_ip?access_token={token}"))["errcode"].clone()
    }
}
