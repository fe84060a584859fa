//! `wxsub serve --sandbox`, and the README's commands against it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

use serde_json::Value;

use super::interrupt::signal;
use super::wxsub::{ended, wxsub};

/// The README's commands for a running server.
fn readme() -> Vec<&'static str> {
    let text = include_str!("../../../../README.md");
    let block = text.split("```sh\nwxsub serve --sandbox\n").nth(1).unwrap().split("```").nth(2).unwrap();
    block.strip_prefix("sh\n").unwrap().lines().collect()
}

/// Starts a server on a free port. Returns the lines to paste.
fn start() -> (Child, Vec<String>) {
    let mut child = wxsub(["serve", "--sandbox", "--listen", "127.0.0.1:0"]).start();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines().map(Result::unwrap);
    let mut printed: Vec<_> =
        lines.by_ref().skip_while(|line| !line.starts_with("export ")).take(1).collect();
    printed.extend(lines.take(readme().len()));
    (child, printed)
}

#[test]
fn printed_lines_match_the_readme() {
    let (child, printed) = start();
    assert_eq!(printed[1..], readme());
    signal(&child, "INT");
    assert_eq!(ended(child).code, 0);
}

#[test]
#[ignore = "needs curl: scripts/test runs it"]
fn commands_of_the_readme_work() {
    let (child, printed) = start();
    let script = [&[printed[0].as_str()], readme().as_slice()].concat().join("\necho\n");
    let shell = Command::new("sh").args(["-euc", &script]).env("no_proxy", "*").output().unwrap();
    signal(&child, "INT");
    let out = String::from_utf8(shell.stdout).unwrap();
    assert!(shell.status.success() && shell.stderr.is_empty(), "{out}{:?}", shell.stderr);
    let (answers, metrics) = out.trim_start().split_once("# HELP").unwrap();
    let answers: Vec<_> = answers.lines().filter(|line| !line.is_empty()).collect();
    let answers: Vec<Value> = answers.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [token, other, sdk, consent, sent, refused, apps] = answers.as_slice() else { panic!("{out}") };
    assert!(token["access_token"].is_string() && token["access_token"] != other["access_token"], "{out}");
    assert_eq!(other["access_token"], sdk["access_token"]);
    assert_eq!((&consent["action"], &consent["openid"]), (&"confirm".into(), &"oUser".into()));
    assert_eq!((&sent["outcome"], &refused["errcode"]), (&"sent".into(), &43101.into()));
    assert_eq!(apps["apps"][0]["state"], "ok");
    assert!(
        metrics.contains("outcome=\"refused\"} 1") && metrics.contains("wxsub_token_reads_total"),
        "{metrics}"
    );
}
