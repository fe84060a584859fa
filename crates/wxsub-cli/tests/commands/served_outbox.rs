//! `wxsub outbox` and `wxsub grant` through a control server: the same output and exit status as on a file.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;

use wxsub_sandbox::Fault;

use super::durable::Setup;
use super::served::{Served, client, config};
use super::weixin::{APPID, SEND, TEMPLATE, Weixin, line, read_message};
use super::wxsub::{Wxsub, append, ended, file, wxsub};

const SCOPES: &str = r#""message:send", "outbox:write", "outbox:read", "outbox:decide", "consent""#;

/// The scopes of the key for operators in docs/operating/wxsub.toml.
fn operator_scopes() -> &'static str {
    let example = include_str!("../../../../docs/operating/wxsub.toml");
    let (_, client) = example.split_once("name = \"ops\"").unwrap();
    let (_, scopes) = client.split_once("scopes = [").unwrap();
    scopes.split_once(']').unwrap().0
}

/// A server with a ledger and a signing key, and its client.
struct Server {
    served: Served,
    key: String,
    operator_key: String,
    weixin: Weixin,
    setup: Setup,
    signing_key: String,
}

impl Server {
    fn start() -> Self {
        Self::start_with("")
    }

    /// With these settings of the app.
    fn start_with(settings: &str) -> Self {
        let (weixin, setup, (key, clients)) = (Weixin::start(), Setup::new(), client("operator", SCOPES));
        let signing_key = setup.path("signing.key");
        assert_eq!(wxsub(&["consent", "key", "--out", &signing_key]).run().code, 0);
        let (operator_key, operator) = client("ops", operator_scopes());
        let (ledger, name) = (setup.path("served.db"), format!("outbox-{}.toml", key.get(..8).unwrap()));
        let more = format!(
            "{clients}{operator}[ledger]\nurl = \"sqlite:{ledger}\"\n[consent]\nkey_file = \"{signing_key}\"\n"
        );
        let path = config(&name, &weixin.base, &more);
        // The app is the last table.
        append(&path, settings);
        let served = Served::start(&path);
        Self { served, key, operator_key, weixin, setup, signing_key }
    }

    fn command(&self, words: &[&str]) -> Wxsub {
        self.served.call(&self.key, words)
    }
}

/// The output without what differs in each run: ids, times, and spaces after times, which can have fewer digits.
fn normalized(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
    let (mut out, mut rest) = (String::new(), text);
    while let Some(begin) = rest.find(is_part) {
        let (before, word) = rest.split_at(begin);
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let is_id = word.len() == 36 && word.matches('-').count() == 4;
        let is_time = word.len() >= 20 && word.ends_with('Z') && word.contains('T');
        out += before;
        out += if is_id || is_time { "?" } else { word };
        rest = after;
    }
    (out + rest).split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A scenario of commands. Gives the exit status and the output of each.
fn scenario(command: &dyn Fn(&[&str]) -> Wxsub, consents: &str) -> Vec<(String, i32, String)> {
    let mut seen = Vec::new();
    let mut run = |words: &[&str]| {
        let ended = command(words).run();
        seen.push((normalized(&words.join(" ")), ended.code, normalized(&ended.out)));
        ended.out.trim().to_owned()
    };
    let message = |user: &'static str| {
        ["--to", user, "--template", TEMPLATE, "--scene", "7", "--title", "t", "--content", "c"]
    };
    let add =
        |user: &'static str, more: &[&'static str]| [&["outbox", "add"], &message(user)[..], more].concat();
    let user = ["--to", "oUser", "--template", TEMPLATE, "--scene", "7"];
    run(&[&["grant", "record", "--key", "c-1"], &user[..]].concat());
    run(&["grant", "list", "--to", "oUser", "--json"]);
    run(&["grant", "record", "--key", "c-1", "--to", "oOther", "--template", TEMPLATE, "--scene", "7"]);
    run(&["outbox", "pause", "--note", "stock"]);
    let id = run(&add("oUser", &["--key", "order-1"]));
    assert_eq!(run(&add("oUser", &["--key", "order-1"])), id);
    run(&add("oOther", &["--key", "order-1"]));
    run(&add("oUser", &[]));
    run(&add("oFree", &["--json", "--priority", "low", "--send-at", "2030-01-01T00:00:00Z"]));
    run(&["outbox", "list"]);
    run(&["outbox", "list", "--json", "--limit", "1"]);
    run(&["outbox", "list", "--json", "--limit", "1", "--after", &id]);
    run(&["outbox", "list", "--json", "--to", "oUser", "--state", "queued"]);
    run(&["outbox", "list", "--undecided"]);
    run(&["outbox", "show", &id]);
    run(&["outbox", "show", "01010101-0101-0101-0101-010101010101"]);
    run(&["outbox", "decide", &id, "--yes", "--decision", "give_up"]);
    run(&["outbox", "decide", "--restored", "--yes", "--decision", "give_up"]);
    run(&["outbox", "cancel", &id]);
    run(&["outbox", "cancel", &id]);
    run(&["outbox", "cancel", "01010101-0101-0101-0101-010101010101"]);
    let grant = run(&[&["grant", "record", "--key", "c-1"], &user[..]].concat());
    run(&["grant", "void", &grant]);
    run(&["grant", "void", &grant]);
    run(&["grant", "import", consents]);
    run(&["grant", "list", "--to", "oImported"]);
    run(&["outbox", "resume"]);
    seen
}

#[test]
fn commands_say_the_same_about_a_file_and_a_server() {
    let (server, setup) = (Server::start(), Setup::new());
    let consents = file(
        "served-consents.jsonl",
        &format!("{{\"openid\":\"oImported\",\"template_id\":\"{TEMPLATE}\",\"scene\":7,\"id\":\"é 1\"}}\n")
            .repeat(2),
    );
    let file = scenario(&|words| setup.command(words), &consents);
    let served = scenario(&|words| server.command(words), &consents);
    for (of_file, of_server) in file.iter().zip(&served) {
        assert_eq!(of_server, of_file);
    }
    let codes: Vec<_> = file.iter().map(|(_, code, _)| *code).collect();
    assert!(codes.contains(&2) && codes.contains(&3), "{codes:?}");
}

#[test]
fn list_without_an_appid_has_the_apps_of_the_server() {
    let server = Server::start();
    let list = || server.command(&["outbox", "list"]).without("WXSUB_APPID");
    assert_eq!((list().run().code, list().run().out.as_str()), (0, ""));
    assert_eq!(server.command(&["outbox", "pause"]).run().code, 0);
    let id = server.command(&["outbox", "add"]).message("oUser", "c").run().out;
    let listed = list().run();
    listed.said(0, &format!("app {APPID}: 1 queued, 0 undecided")).printed(0, id.trim());
    assert_eq!(list().args(&["--json"]).run().json()[0]["messages"][0]["appid"], APPID);
    server
        .command(&["outbox", "show", id.trim()])
        .without("WXSUB_APPID")
        .run()
        .said(2, "--appid: is missing");
}

#[test]
fn a_callback_is_verified_by_the_server() {
    let server = Server::start();
    let request = ["--mobile", "--template", TEMPLATE, "--scene", "7", "--session", "s-1"];
    let request = wxsub(&["consent", "url"]).args(&request).args(&["--appid", APPID]);
    let request = request.args(&["--signing-key-file", &server.signing_key]).run().json().remove(0);
    let callback = |action| {
        let reserved = request["reserved"].as_str().unwrap();
        format!("openid=oUser&template_id={TEMPLATE}&action={action}&scene=7&reserved={reserved}")
    };
    let record = |action, session| {
        let callback = callback(action);
        server.command(&["grant", "record", "--callback", &callback, "--session", session]).run()
    };
    record("confirm", "s-2").said(2, "the callback belongs to no request of this app and session");
    record("cancel", "s-1").said(3, "the user cancelled; nothing was recorded");
    record("confirm", "s-1").said(0, "recorded");
    record("confirm", "s-1").said(0, "recorded before; nothing new was recorded");
    let with_key =
        server.command(&["grant", "record", "--callback", &callback("confirm"), "--session", "s-1"]);
    with_key.args(&["--signing-key-file", "k"]).run().said(2, "has an effect only with --outbox");
    let in_file =
        server.setup.command(&["grant", "record", "--callback", &callback("confirm"), "--session", "s"]);
    in_file.run().said(2, "--signing-key-file: is missing");
}

#[test]
fn message_that_may_have_been_sent_is_shown_and_too_early_to_decide() {
    let server = Server::start();
    server.weixin.allow("oUser", 7).fault(SEND, Fault::ResetAfterApply);
    let id = server.command(&["outbox", "add"]).message("oUser", "c").run().out.trim().to_owned();
    let undecided = || server.command(&["outbox", "list", "--undecided", "--json"]).run().json().remove(0);
    wxsub_test_support::wait_for("its outcome", || !undecided()["messages"].as_array().unwrap().is_empty());
    let decide = ["outbox", "decide", &id, "--yes", "--decision", "assume_sent"];
    let decided = server.served.call(&server.operator_key, &decide).run();
    decided
        .said(3, "evidence: it was posted, and the response is lost")
        .says("it can be decided from 20")
        .says("409");
}

/// A program that gives this response to the head and the body of a request.
pub(crate) fn program(mut respond: impl FnMut(&str, &[u8]) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some((head, body)) = read_message(&mut BufReader::new(&stream)) {
                let (status, body) = respond(&head, &body);
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                // The other side may be gone.
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        }
    });
    base
}

/// A gateway that has lost the server.
#[test]
fn change_without_a_reply_may_have_been_made() {
    let base = program(|_, _| (504, "<html>".to_owned()));
    let call = |words: &[&str]| wxsub(words).through(&base, &"k".repeat(43));
    for change in [call(&["outbox", "add"]).message("o", "c"), call(&["outbox", "pause"])] {
        let ended = change.run();
        assert!(
            ended
                .err
                .ends_with("; it may have taken effect: look at the list before you repeat the command\n")
        );
        assert_eq!(ended.code, 5, "{ended:?}");
    }
    for command in [call(&["outbox", "add"]).message("o", "c"), call(&["grant", "record"]).consent("o")] {
        let ended = command.args(&["--key", "order-1"]).run();
        ended.said(5, "; it may have taken effect: repeat the command with the same --key\n");
    }
    let consent = format!(r#"{{"openid":"o","template_id":"{TEMPLATE}","scene":7}}"#);
    let imported = call(&["grant", "import", "-"]).input(consent).run();
    imported.said(5, "line 1: ").says("; it may have taken effect: import the file again\n");
    call(&["outbox", "list"]).run().said(4, "the control server responded with 504; what to do: ");
}

/// The server says so of a line, when the ledger's reply to its commit was lost.
#[test]
fn message_that_may_have_been_recorded_is_not_said_to_be_missing() {
    let problem =
        r#"{"kind":"ledger_unavailable","title":"t","status":503,"detail":"d","recorded":"unknown"}"#;
    let base = program(move |_, _| (200, format!(r#"{{"line":1,"status":503,"problem":{problem}}}"#)));
    let add = wxsub(&["outbox", "add", "--key", "order-1"]).through(&base, &"k".repeat(43));
    add.message("o", "c").run().said(5, "error: d\n");
}

/// A message that a restored backup left undecided.
fn restored(id: &str) -> String {
    let at = "2026-05-01T00:00:00Z";
    format!(
        r#"{{"id":"{id}","appid":"{APPID}","state":"maybe_sent","reason":"restored","attempt":1,"failures":0,"version":3,"created_at":"{at}","send_at":"{at}","expires_at":"{at}"}}"#
    )
}

const FIRST: &str = "01010101-0101-0101-0101-010101010101";
const SECOND: &str = "02020202-0202-0202-0202-020202020202";

/// Two pages with one message each.
fn page(head: &str) -> String {
    match head.contains(&format!("after={FIRST}")) {
        false => format!(r#"{{"messages":[{}],"next":"{FIRST}"}}"#, restored(FIRST)),
        true => format!(r#"{{"messages":[{}]}}"#, restored(SECOND)),
    }
}

/// An endless list, whose reader is gone.
#[test]
fn list_ends_when_its_pipe_is_closed() {
    let page = format!(r#"{{"messages":[{}],"next":"{FIRST}"}}"#, vec![restored(FIRST); 100].join(","));
    let mut list = wxsub(&["outbox", "list"])
        .through(&program(move |_, _| (200, page.clone())), &"k".repeat(43))
        .start();
    drop(list.stdout.take());
    assert_eq!(ended(list).code, 0);
}

#[test]
fn page_is_printed_before_the_next_one_is_read() {
    let base =
        program(|head, _| if head.contains("after=") { (503, String::new()) } else { (200, page(head)) });
    for format in [&[][..], &["--json"]] {
        let ended = wxsub(&["outbox", "list"]).args(format).through(&base, &"k".repeat(43)).run();
        ended.said(4, "responded with 503").printed(4, FIRST);
    }
}

#[test]
fn restored_messages_are_decided_page_by_page() {
    let (sender, requests) = channel();
    let base = program(move |head, _| {
        let ids = [FIRST, SECOND].into_iter().find(|id| head.contains(id));
        sender.send((head.starts_with("POST"), ids)).unwrap();
        (200, if head.starts_with("POST") { restored(ids.unwrap()) } else { page(head) })
    });
    let decide = ["outbox", "decide", "--restored", "--decision", "give_up", "--yes"];
    let ended = wxsub(&decide).through(&base, &"k".repeat(43)).run();
    ended.said(0, "may have been sent since: 2").says(&format!("message {SECOND}: decided, give_up"));
    let (read, decided) =
        ([(false, None), (false, Some(FIRST))], [(true, Some(FIRST)), (true, Some(SECOND))]);
    let expected = [read[0], read[1], read[0], decided[0], read[1], decided[1]];
    assert_eq!(requests.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn without_a_ledger_and_a_server_the_command_names_both() {
    let list = wxsub(&["outbox", "list"]).env("WXSUB_APPID", APPID).run();
    list.said(2, "--outbox: is missing; name a ledger, or set WXSUB_SERVER and WXSUB_KEY");
    let server = Server::start();
    server
        .command(&["grant", "list", "--state", "open"])
        .run()
        .said(2, "--state: has an effect only with --outbox");
    let wrong = server.command(&["outbox", "list"]).env("WXSUB_KEY", &"x".repeat(43)).run();
    wrong.said(4, "the control server responded with 401").says("; what to do: check WXSUB_KEY: ");
    let gone = server.command(&["outbox", "list"]).env("WXSUB_SERVER", "http://127.0.0.1:1").run();
    gone.said(4, "the control server was not reached").says("; what to do: check that the server runs");
}

#[test]
fn message_without_a_grant_exits_3_and_does_not_stop_a_batch() {
    let server = Server::start_with("require_grant = true\n");
    let one = server.command(&["send"]).message("oNone", "c").run();
    one.said(3, "409").says("no grant allows the message");
    assert_eq!(server.command(&["grant", "record"]).consent("oUser").run().code, 0);
    server.weixin.allow("oUser", 7);
    let mut lines: Vec<_> = (0..9).map(|number| line(&format!("oNone{number}"), 7, "c")).collect();
    lines.push(line("oUser", 7, "c"));
    let path = file("grants.jsonl", &lines.join("\n"));
    let batch = server.command(&["send", "--file", &path]).run();
    batch.said(3, "1 sent, 0 refused, 0 invalid, 9 not sent");
    assert_eq!((server.weixin.received("oUser").len(), server.weixin.seen(SEND)), (1, 1));
}
