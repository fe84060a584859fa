//! `wxsub sandbox` and `wxsub demo`.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use wxsub_sandbox::JournalRecord;

use super::interrupt::signal;
use super::served::{Served, exchange, first_line, head};
use super::weixin::{SEND, TEMPLATE, line};
use super::wxsub::{ended, folder, wxsub};

/// Starts a sandbox on a free port.
fn start(arguments: &[&str]) -> Served {
    Served::start_as(wxsub(&["sandbox", "--listen", "127.0.0.1:0"]).args(arguments))
}

#[test]
fn printed_variables_point_at_the_sandbox() {
    let sandbox = start(&[]);
    let base = sandbox.base.clone();
    assert!(base.starts_with("http://127.0.0.1:"), "{base}");
    let (code, printed) = sandbox.stop_and_read("TERM");
    assert_eq!(code, Some(0));
    let exports: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("export ")).collect();
    assert_eq!(exports[..2], [format!("WXSUB_API_BASE={base}"), format!("WXSUB_MP_BASE={base}")]);
    assert!(printed.lines().all(|line| line.starts_with("export ") || line.starts_with('#')), "{printed}");
    assert!(exports[2].starts_with("WXSUB_APPID=wx") && exports[2].contains(" WXSUB_SECRET="));
    assert!(printed.contains("# template: "));
}

#[test]
fn sandbox_serves_the_given_apps() {
    let sandbox =
        start(&["--app", "wx1:one", "--app", "wx2:it's two".replace(' ', "+").as_str(), "--template", "-T"]);
    for (appid, secret, code) in
        [("wx1", "one", 0), ("wx2", "it's+two", 0), ("wx1", "two", 3), ("wx3", "one", 3)]
    {
        let shown = wxsub(&["token", "show", "--appid", appid])
            .env("WXSUB_API_BASE", &sandbox.base)
            .env("WXSUB_SECRET", secret)
            .run();
        assert_eq!(shown.code, code, "{shown:?}");
    }
    let (code, printed) = sandbox.stop_and_read("INT");
    assert_eq!(code, Some(0));
    assert!(printed.contains("\n# or: export WXSUB_APPID=wx2 WXSUB_SECRET='it'\\''s+two'\n"), "{printed}");
}

#[test]
fn ten_of_many_apps_and_templates_are_printed() {
    let command = (0..500).fold(wxsub(&["sandbox", "--listen", "127.0.0.1:0"]), |command, number| {
        command.args(&["--app", &format!("wx{number}:one"), "--template", &format!("T{number}")])
    });
    let sandbox = Served::start_as(command);
    let (code, printed) = sandbox.stop_and_read("TERM");
    assert_eq!(code, Some(0));
    assert_eq!(printed.matches("export WXSUB_APPID=wx").count(), 10, "{printed}");
    assert_eq!(printed.matches("# template: T").count(), 10, "{printed}");
    assert!(printed.contains("# and 490 more of --app\n"), "{printed}");
    assert!(printed.ends_with("# and 490 more of --template\n"), "{printed}");
}

/// The response says `sent` only after the journal says `accepted`.
#[test]
fn journal_survives_kill_of_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let sandbox = start(&["--journal", path.to_str().unwrap(), "--app", "wx1:play", "--template", TEMPLATE]);
    let consent = format!(
        r#"{{"appid":"wx1","openid":"oUser","template_id":"{TEMPLATE}","scene":7,"action":"confirm"}}"#
    );
    assert_eq!(sandbox.post("/_sandbox/consents", "", consent.as_bytes()).0, 200);
    let send = || {
        let call = wxsub(&["send", "--appid", "wx1"]).message("oUser", "c").env("WXSUB_SECRET", "play");
        call.env("WXSUB_API_BASE", &sandbox.base).run().code
    };
    assert_eq!((send(), send()), (0, 3));
    sandbox.stop("KILL");
    let journal = std::fs::read(&path).unwrap();
    let sends: Vec<_> = JournalRecord::parse(&journal).filter(|record| record.operation == "send").collect();
    assert_eq!(sends.iter().map(|send| send.accepted).collect::<Vec<_>>(), [true, false]);
    let message = sends[0].message.as_ref().unwrap();
    assert_eq!((message.touser.as_deref(), message.scene.as_deref()), (Some("oUser"), Some("7")));
    assert!(!String::from_utf8(journal).unwrap().contains("play"));
}

/// The first signal waits for a response that its client does not read.
#[test]
fn second_signal_stops_the_sandbox_at_once() {
    let sandbox = start(&["--app", "wx1:play", "--template", TEMPLATE]);
    let post = |path: &str, body: &str| sandbox.post(path, "", body.as_bytes());
    let token = "/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=play";
    let token: Value = serde_json::from_str(&sandbox.get(token, "").1).unwrap();
    let send = format!("{SEND}?access_token={}", token["access_token"].as_str().unwrap());
    // A mailbox that is larger than all buffers between the two programs.
    for scene in 0..400 {
        let consent = format!(
            r#"{{"appid":"wx1","openid":"oUser","template_id":"{TEMPLATE}","scene":{scene},"action":"confirm"}}"#
        );
        assert_eq!(post("/_sandbox/consents", &consent).0, 200);
        let message =
            line("oUser", scene, "c").replacen('{', &format!("{{\"more\":\"{}\",", "x".repeat(60_000)), 1);
        let (_, response) = post(&send, &message);
        assert!(response.contains("\"errcode\":0"), "{response}");
    }
    let mut client = TcpStream::connect(sandbox.address()).unwrap();
    client.write_all(head("GET", "/_sandbox/mailbox?openid=oUser", "", 0).as_bytes()).unwrap();
    client.read_exact(&mut [0]).unwrap();
    signal(&sandbox.child, "INT");
    assert_eq!(sandbox.stop("TERM"), Some(0));
}

/// The status of the home page for a browser that reached `base` by this name.
pub(crate) fn status_by_name(base: &str, name: &str) -> u16 {
    let address = base.strip_prefix("http://").unwrap();
    exchange(address, "GET /", &format!("Host: {name}\r\n"), b"").unwrap().status
}

#[test]
fn only_allowed_host_names_are_served() {
    let sandbox = start(&["--allow-host", "one.example", "--allow-host", "two.example"]);
    for (name, status) in
        [("localhost", 200), ("one.example:80", 200), ("two.example", 200), ("evil.example", 403)]
    {
        assert_eq!(status_by_name(&sandbox.base, name), status, "{name}");
    }
    assert_eq!(sandbox.stop("INT"), Some(0));
}

#[test]
fn wrong_usage_of_sandbox() {
    for words in [&["sandbox"][..], &["serve", "--sandbox"]] {
        let ended = wxsub(words).args(&["--allow-host", "http://a", "--allow-host", "b:1"]).run();
        ended.assert_wrong(&["--allow-host: must be a host name without scheme and port"]);
        assert_eq!(ended.err.lines().count(), 2, "{ended:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    wxsub(&["sandbox", "--journal", folder.path().to_str().unwrap()])
        .run()
        .assert_wrong(&["--journal: ", "cannot be opened"]);
    wxsub(&["sandbox", "--app", "wx1", "--app", "w x:s", "--template", "a b"]).run().assert_wrong(&[
        "--app: must be APPID:SECRET",
        "--app: has a character",
        "--template: has a character",
    ]);
    wxsub(&["sandbox", "--listen", "localhost"]).run().assert_wrong(&["--listen"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    wxsub(&["sandbox", "--listen", &taken.1]).run().assert_wrong(&["cannot be used", "choose another port"]);
}

/// The signal comes in one of the steps, or after the last one.
#[test]
fn stopped_demo_leaves_no_folder() {
    for name in ["INT", "TERM", "HUP"] {
        let folder = folder();
        let mut demo = wxsub(&["demo"]).env("TMPDIR", folder.path().to_str().unwrap()).start();
        assert!(first_line(&mut demo).contains(" sandbox "));
        signal(&demo, name);
        let ended = ended(demo);
        assert!(matches!(ended.code, 0 | 1), "{ended:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
    }
}

/// Each step is a JSON object, or a line of text.
#[test]
fn every_step_succeeds() {
    const STEPS: &str = "sandbox consent_url consent forged_callback grant token queue send mailbox repeated \
                         second_message invalidated refreshed summary";
    let (json, text) = (wxsub(&["demo", "--json"]).run(), wxsub(&["demo"]).run());
    assert_eq!((json.code, json.err.as_str(), text.code), (0, "", 0), "{json:?}");
    let steps = json.json();
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names.join(" "), STEPS);
    assert_eq!(text.out.lines().count(), names.len());
    for (index, (step, line)) in steps.iter().zip(text.out.lines()).enumerate() {
        assert_eq!((&step["step"], &step["ok"]), (&(index + 1).into(), &true.into()));
        assert!(!step["detail"].as_str().unwrap().is_empty());
        assert!(line.starts_with('✓') && line.contains(names[index]), "{line}");
    }
    text.says("ONE message");
}
