//! A service that sends with an SDK: a separate process that reads one command a line.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_tests::{app, template};

use super::setup::Setup;

/// The longest wait for the SDK. A send of the server takes at most 30 s.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub(super) enum Sdk {
    Wechatpy,
    CoWechatApi,
}

/// The route of messages. Tokens always come from the server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route {
    ThroughServer,
    Directly,
}

/// The process ends when this is dropped.
pub(super) struct Service {
    _process: Child,
    scenes: ChildStdin,
    errcodes: Lines<BufReader<ChildStdout>>,
}

impl Service {
    pub(super) fn start(sdk: Sdk, route: Route, setup: &Setup, key: &str) -> Self {
        let (program, script) = match sdk {
            Sdk::Wechatpy => ("python", "wechatpy/scenario.py"),
            Sdk::CoWechatApi => ("node", "co-wechat-api/scenario.js"),
        };
        let mut process = Command::new(program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(script))
            .env("WXSUB_SERVER", &setup.server)
            .env("WXSUB_KEY", key)
            .env("TEST_ROUTE", format!("{route:?}"))
            .env("TEST_WEIXIN", &setup.weixin)
            .env("TEST_APPID", app().as_str())
            .env("TEST_TEMPLATE", template().as_str())
            .env("no_proxy", "127.0.0.1")
            // Writes no files beside the scripts.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the SDK cannot be started; scripts/test --all installs what it needs");
        let scenes = process.stdin.take().unwrap();
        let errcodes = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, scenes, errcodes }
    }

    /// Sends the message to which the user consented in this scene. Returns the errcode, or the error of the SDK.
    pub(super) async fn send(&mut self, scene: u16) -> String {
        self.scenes.write_all(format!("{scene}\n").as_bytes()).await.unwrap();
        let clock = SystemClock::new();
        let deadline = clock.now().mono + RESPONSE_TIMEOUT;
        let answer = timeout_at(&clock, deadline, self.errcodes.next_line()).await.expect("the SDK hangs");
        answer.unwrap().expect("the process of the SDK has ended; its output has the reason")
    }
}
