//! `wxsub serve --sandbox`: what it prints, and the commands of the documents that try it.

use std::process::Command;

use serde_json::Value;

use super::sandbox::status_by_name;
use super::served::{Served, ask};
use super::wxsub::{folder, wxsub};

/// A running `wxsub serve --sandbox` on a free port.
pub(crate) struct ServedSandbox {
    served: Served,
    /// The line to paste.
    exports: String,
    /// The commands to try.
    commands: Vec<String>,
    /// Address and password of its console.
    console: (String, String),
}

impl ServedSandbox {
    /// Starts it, and reads what it prints.
    pub(crate) fn start(options: &[&str]) -> Self {
        let call = wxsub(&["serve", "--sandbox", "--listen", "127.0.0.1:0"]).args(options);
        let served = Served::start_as(call);
        let next = || served.next_line().expect("it ended");
        let exports = served.wait_until_it_says("export ");
        let mut commands = Vec::new();
        let console = loop {
            let line = next();
            match line.strip_prefix("# Console: ") {
                Some(console) => break console.to_owned(),
                None => commands.push(line),
            }
        };
        let (address, password) = console.split_once(" with the name ops and the password ").unwrap();
        let console = (address.to_owned(), password.to_owned());
        Self { served, exports, commands, console }
    }

    /// The value of an exported variable.
    pub(crate) fn value(&self, name: &str) -> &str {
        let (_, rest) = self.exports.split_once(&format!(" {name}=")).unwrap();
        rest.split(' ').next().unwrap()
    }

    /// All exported variables.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.exports.split(' ').skip(1).map(|pair| pair.split_once('=').unwrap())
    }

    /// Waits for the next webhook that it prints.
    pub(crate) fn webhook(&self) -> String {
        self.served.wait_until_it_says("webhook: ")
    }

    /// What a shell with its variables prints.
    fn shell(&self, script: &str) -> String {
        let script = format!("{}\n{script}", self.exports);
        let shell = Command::new("sh").args(["-euc", &script]).env("no_proxy", "*").output().unwrap();
        let out = String::from_utf8(shell.stdout).unwrap();
        assert!(shell.status.success() && shell.stderr.is_empty(), "{out}{:?}", shell.stderr);
        out
    }
}

/// The README's commands for a running server.
fn readme() -> Vec<&'static str> {
    let text = include_str!("../../../../README.md");
    let block = text.split("```sh\nwxsub serve --sandbox\n").nth(1).unwrap().split("```").nth(2).unwrap();
    block.strip_prefix("sh\n").unwrap().lines().collect()
}

#[test]
fn printed_lines_match_the_readme() {
    let server = ServedSandbox::start(&["--allow-host", "sandbox.example"]);
    assert_eq!(server.commands, readme());
    let console = server.console.0.strip_suffix('/').unwrap();
    assert_eq!(status_by_name(console, "localhost"), 303);
    let sandbox = server.value("WXSUB_MP_BASE");
    assert_eq!(status_by_name(sandbox, "sandbox.example"), 200);
    assert_eq!(status_by_name(sandbox, "evil.example"), 403);
    assert_eq!(server.served.stop("INT"), Some(0));
}

/// A terminal that is closed leaves no keys behind.
#[test]
fn hangup_stops_it_and_removes_its_folder() {
    let folder = folder();
    let call = wxsub(&["serve", "--sandbox", "--listen", "127.0.0.1:0"]);
    let server = Served::start_as(call.env("TMPDIR", folder.path().to_str().unwrap()));
    assert_eq!(server.stop("HUP"), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn wrong_url_of_a_webhook_is_named() {
    let urls =
        ["shop.example", "http://10.0.0.1/hooks", "http://127.0.0.1:1/\"\n", "https://shop.example/\u{200b}"];
    for url in urls {
        wxsub(&["serve", "--sandbox", "--listen", "127.0.0.1:0", "--webhook", url])
            .run()
            .assert_wrong(&["--webhook: "]);
    }
}

#[test]
fn a_sent_message_has_a_webhook() {
    let server = ServedSandbox::start(&[]);
    let post = |base: &str, path: &str, body: String| {
        let address = server.value(base).strip_prefix("http://").unwrap();
        ask(address, "POST", path, server.value("WXSUB_KEY"), body.as_bytes()).unwrap()
    };
    let appid = server.value("WXSUB_APPID").to_owned();
    let consent = r#""template_id":"sandbox-template-1","scene":1000"#;
    let allow = format!(r#"{{"appid":"{appid}","openid":"oUser",{consent},"action":"confirm"}}"#);
    post("WXSUB_MP_BASE", "/_sandbox/consents", allow);
    let message = format!(
        r#"{{"touser":"oUser",{consent},"title":"Parcel","data":{{"content":{{"value":"Here."}}}}}}"#
    );
    let (status, body) = post("WXSUB_SERVER", &format!("/v1/apps/{appid}/messages"), message);
    assert_eq!(status, 200, "{body}");
    let webhook: Value = serde_json::from_str(server.webhook().strip_prefix("webhook: ").unwrap()).unwrap();
    assert_eq!(webhook["type"], "message.sent");
    assert_eq!(webhook["data"]["appid"], Value::from(appid));
}

#[test]
#[ignore = "needs curl: scripts/test runs it"]
fn commands_of_the_readme_work() {
    let server = ServedSandbox::start(&[]);
    let out = server.shell(&readme().join("\necho\n"));
    let (responses, metrics) = out.trim_start().split_once("# HELP").unwrap();
    let responses: Vec<_> = responses.lines().filter(|line| !line.is_empty()).collect();
    let responses: Vec<Value> = responses.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [grant, queued, listed, refused, token, other, sdk, apps] = responses.as_slice() else {
        panic!("{out}")
    };
    assert_eq!((&grant["outcome"], &queued["state"]), (&"recorded".into(), &"queued".into()));
    assert_eq!((&listed["messages"][0]["id"], &refused["errcode"]), (&queued["id"], &43101.into()), "{out}");
    assert!(token["access_token"].is_string() && token["access_token"] != other["access_token"], "{out}");
    assert_eq!(other["access_token"], sdk["access_token"]);
    assert_eq!(apps["apps"][0]["state"], "ok");
    assert!(
        metrics.contains("outcome=\"refused\"} 1") && metrics.contains("wxsub_token_reads_total"),
        "{metrics}"
    );
    let webhook = [server.webhook(), server.webhook()].concat();
    assert!(webhook.contains("\"idempotency_key\":\"order-4711\",\"outcome\":\"sent\""), "{webhook}");
}

/// The code blocks of a document, each with its language.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let blocks = document.split("\n```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').unwrap()).collect()
}

/// Whether a line is what the document shows, where `…` stands for anything.
fn fits(shown: &str, line: &str) -> bool {
    let Some((first, rest)) = shown.split_once('…') else { return line == shown };
    let (between, last) = rest.rsplit_once('…').unwrap_or(("", rest));
    let line = line.strip_prefix(first).and_then(|line| line.strip_suffix(last));
    let found = line
        .and_then(|line| between.split('…').try_fold(line, |line, piece| Some(line.split_once(piece)?.1)));
    found.is_some()
}

#[test]
fn dots_stand_for_anything() {
    for (shown, line, does_fit) in [
        ("{\"a\":1}", "{\"a\":1}", true),
        ("{\"a\":1}", "{\"a\":12}", false),
        ("{\"a\":\"…\",\"b\":2}", "{\"a\":\"x\",\"b\":2}", true),
        ("{\"a\":\"…\",\"b\":2}", "{\"a\":\"x\",\"b\":3}", false),
        ("{…}", "{}{}", true),
        ("{…}", "{} ", false),
        ("a…", "ab", true),
        ("a…", "ba", false),
    ] {
        assert_eq!(fits(shown, line), does_fit, "{shown} {line}");
    }
}

/// The page with curl, as it is written: each command, what it prints, the webhook, and the console at the end.
#[test]
#[ignore = "needs curl: scripts/test runs it"]
fn commands_of_the_page_print_what_it_shows() {
    let server = ServedSandbox::start(&[]);
    let blocks = blocks(include_str!("../../../../docs/curl.md"));
    let scripts = blocks.iter().filter(|(language, _)| *language == "sh").map(|(_, script)| *script);
    let out = server.shell(&scripts.collect::<Vec<_>>().join("\n"));
    let (webhooks, shown): (Vec<&str>, Vec<&str>) = blocks
        .iter()
        .filter(|(language, _)| ["json", "text"].contains(language))
        .flat_map(|(_, text)| text.lines())
        .partition(|line| line.starts_with("webhook: "));
    let printed: Vec<_> = out.lines().collect();
    assert_eq!(printed.len(), shown.len(), "{out}");
    for (shown, line) in shown.iter().zip(&printed) {
        assert!(fits(shown, line), "{shown}\n{line}");
    }
    let listed = printed.iter().find(|line| line.starts_with("{\"messages\":")).unwrap();
    let listed: Value = serde_json::from_str(listed).unwrap();
    let undecided = listed["messages"][0]["id"].as_str().unwrap();
    let [shown] = webhooks.as_slice() else { panic!("{webhooks:?}") };
    // Those of different messages come in any order.
    let webhooks = [server.webhook(), server.webhook(), server.webhook()];
    assert!(webhooks.iter().any(|webhook| fits(shown, webhook)), "{shown}\n{webhooks:?}");

    let (console, password) = &server.console;
    let token = "sed -n 's/.*name=\"token\" value=\"\\([^\"]*\\).*/\\1/p'";
    let decisions = server.shell(&format!(
        "jar=$(mktemp); browse() {{ curl -s -b \"$jar\" -c \"$jar\" \"$@\"; }}\n\
         token=$(browse {console}login | {token})\n\
         browse -d \"token=$token&name=ops&password={password}\" {console}login\n\
         browse {console}decisions; rm \"$jar\""
    ));
    assert!(decisions.contains(undecided), "{decisions}");
}
