//! The process of an attack. It also runs the silent Weixin, which only the attack uses.
//!
//! It shares a core with the honest callers, and gets only the time that they leave: an attacker has a machine of its own.

use std::io::stdin;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::spawn_blocking;

use super::attack::{ATTACKS, Attack, Target};
use super::weixin::start_silent_weixin;

/// The first argument of this process.
pub(crate) const ROLE: &str = "attack";

/// A running process. It ends when this is dropped.
pub(crate) struct Attacker {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    /// The base URL of the silent Weixin.
    pub(crate) silent_weixin: String,
}

impl Attacker {
    /// Starts the process. The attack waits for [`attack`](Self::attack).
    pub(crate) async fn start(attack: &Attack) -> Self {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(std::env::current_exe().unwrap()).args([ROLE, attack.name]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("chrt of util-linux");
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut attacker = Self { child, output, silent_weixin: String::new() };
        attacker.silent_weixin = attacker.next_line().await;
        attacker
    }

    /// Attacks, and waits for the end. Returns the number of responses to repeated requests.
    pub(crate) async fn attack(&mut self, Target { address, key }: &Target) -> usize {
        self.send(&format!("{address} {key}")).await;
        self.next_line().await.parse().unwrap()
    }

    /// Opens connections without a pause, and waits for the end.
    pub(crate) async fn flood(&mut self) {
        self.send("flood").await;
        self.next_line().await;
    }

    async fn send(&mut self, line: &str) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn next_line(&mut self) -> String {
        self.output.next_line().await.unwrap().expect("the process of the attack ended too early")
    }
}

/// The process: runs the attack with this name, for `duration` after its connections are open, and then its flood.
pub(crate) async fn run(name: &str, duration: Duration) {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).unwrap();
    println!("{}", start_silent_weixin().await);
    let line = next_line().await;
    let (address, key) = line.split_once(' ').unwrap();
    let target = Target { address: address.parse().unwrap(), key: key.to_owned() };
    let mut held = attack.open(&target).await;
    println!("{}", attack.go_on(&mut held, &target, duration).await);
    if attack.is_flood() {
        next_line().await;
        attack.flood(&mut held, &target).await;
        println!("end");
    }
}

async fn next_line() -> String {
    spawn_blocking(|| stdin().lines().next().unwrap().unwrap()).await.unwrap()
}
