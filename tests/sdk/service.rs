//! A service that sends with an SDK: a process of its own, told what to do line by line.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_tests::{app, template};

use super::setup::Stage;

/// Beyond this an SDK hangs. A send takes the server 30 s at most.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub(super) enum Sdk {
    Wechatpy,
    CoWechatApi,
}

/// Which way messages go; tokens always come from the server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sends {
    ThroughServer,
    Directly,
}

/// It ends when this is dropped.
pub(super) struct Service {
    _process: Child,
    scenes: ChildStdin,
    errcodes: Lines<BufReader<ChildStdout>>,
}

impl Service {
    pub(super) fn start(sdk: Sdk, sends: Sends, stage: &Stage, key: &str) -> Self {
        let (program, script) = match sdk {
            Sdk::Wechatpy => ("python", "wechatpy/scenario.py"),
            Sdk::CoWechatApi => ("node", "co-wechat-api/scenario.js"),
        };
        let mut process = Command::new(program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(script))
            .env("WXSUB_SERVER", &stage.server)
            .env("WXSUB_KEY", key)
            .env("STORY_SENDS", format!("{sends:?}"))
            .env("STORY_WEIXIN", &stage.weixin)
            .env("STORY_APPID", app().as_str())
            .env("STORY_TEMPLATE", template().as_str())
            .env("no_proxy", "127.0.0.1")
            // Nothing is left beside the scripts.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the SDK cannot be started: scripts/test installs what it needs");
        let scenes = process.stdin.take().unwrap();
        let errcodes = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, scenes, errcodes }
    }

    /// Has it send the message to which the user consented in this scene. The errcode it gets, or what else goes wrong.
    pub(super) async fn send(&mut self, scene: u16) -> String {
        self.scenes.write_all(format!("{scene}\n").as_bytes()).await.unwrap();
        let clock = SystemClock::new();
        let deadline = clock.now().mono.after(LONGEST);
        let answer = timeout_at(&clock, deadline, self.errcodes.next_line()).await.expect("the SDK hangs");
        answer.unwrap().expect("the SDK's process has ended: it says why above")
    }
}
