//! Every way a send can end, as the library, the command line, both APIs, the metrics and the log report it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_core::Client;
use wxsub_core::error::Delivery;
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_proto::Operation;
use wxsub_proto::message::MessageDraft;

use super::interrupt::signal;
use super::served::{ALL, Served, client, config};
use super::weixin::{APPID, SECRET, SEND, TEMPLATE, UNUSED_BASE, pointed_at};
use super::wxsub::wxsub;

const OPENID: &str = "oPLANTED-openid-0123456789ab";

const OK: Response = Response::Body(br#"{"errcode":0,"errmsg":"ok"}"#);
const STALE: &[u8] = br#"{"errcode":42001,"errmsg":"access_token expired rid: 6004f3da-1529ba72-5c345f67"}"#;

/// What Weixin, or something in its place, does with a request.
#[derive(Debug, Clone, Copy)]
enum Response {
    /// Another token than before.
    Token,
    /// Another token than before; from now on no connection is taken.
    LastToken,
    Body(&'static [u8]),
    /// From now on no connection is taken.
    LastBody(&'static [u8]),
    Status(u16),
    /// The connection is closed instead.
    Lost,
    /// It never comes.
    Never,
}

/// A condition at Weixin, and what each reports of it.
struct Row {
    condition: &'static str,
    title: &'static str,
    /// Responses to token calls and to sends. The last is given to all that follow.
    token: &'static [Response],
    send: &'static [Response],
    /// The same for the Weixin-compatible API, where a client has a token before it sends.
    with_token: Option<(&'static [Response], &'static [Response])>,
    /// Library, command line, v1 API, Weixin-compatible API, metrics, log.
    reports: [&'static str; 6],
}

const ROW: Row = Row {
    condition: "",
    title: "Parcel",
    token: &[Response::Token],
    send: &[OK],
    with_token: None,
    reports: [""; 6],
};

const ROWS: &[Row] = &[
    Row {
        condition: "accepted",
        reports: ["sent", "0 sent", "200 sent", "0", "sent", "nothing"],
        ..ROW
    },
    Row {
        condition: "accepted, errcode as text",
        send: &[Response::Body(br#"{"errcode":"0","errmsg":"ok"}"#)],
        reports: ["sent", "0 sent", "200 sent", "0", "sent", "nothing"],
        ..ROW
    },
    Row {
        condition: "stale token, then accepted",
        send: &[Response::Body(STALE), OK],
        reports: ["sent", "0 sent", "200 sent", "0", "sent", "nothing"],
        ..ROW
    },
    Row {
        condition: "stale token twice",
        send: &[Response::Body(STALE)],
        reports: [
            "refused send 42001 refresh_token",
            "3 refused send 42001 refresh_token",
            "422 refused send 42001 refresh_token",
            "42001",
            "refused",
            "refused 42001 refresh_token rid",
        ],
        ..ROW
    },
    Row {
        condition: "refused: no consent",
        send: &[Response::Body(
            br#"{"errcode":43101,"errmsg":"no oPLANTED-openid-0123456789ab rid: 6004f3da-1529ba72-5c345f67"}"#,
        )],
        reports: [
            "refused send 43101 stop",
            "3 refused send 43101 stop",
            "422 refused send 43101 stop",
            "43101",
            "refused",
            "refused 43101 stop rid",
        ],
        ..ROW
    },
    Row {
        condition: "refused: day's quota",
        send: &[Response::Body(br#"{"errcode":45009,"errmsg":"reach max api daily quota limit"}"#)],
        reports: [
            "refused send 45009 slow_down",
            "3 refused send 45009 slow_down",
            "422 refused send 45009 slow_down",
            "45009",
            "refused",
            "refused 45009 slow_down",
        ],
        ..ROW
    },
    Row {
        condition: "refused: busy",
        send: &[Response::Body(br#"{"errcode":-1,"errmsg":"system error"}"#)],
        reports: [
            "refused send -1 retry_later",
            "3 refused send -1 retry_later",
            "422 refused send -1 retry_later",
            "-1",
            "refused",
            "refused -1 retry_later",
        ],
        ..ROW
    },
    Row {
        condition: "refused: unknown code",
        send: &[Response::Body(br#"{"errcode":123456789}"#)],
        reports: [
            "refused send 123456789 investigate",
            "3 refused send 123456789 investigate",
            "422 refused send 123456789 investigate",
            "123456789",
            "refused",
            "refused 123456789 investigate",
        ],
        ..ROW
    },
    Row {
        condition: "refused: control character and GBK in errmsg",
        send: &[Response::Body(b"{\"errcode\":43101,\"errmsg\":\"\xd3\xc3\x01\"}")],
        reports: [
            "refused send 43101 stop",
            "3 refused send 43101 stop",
            "422 refused send 43101 stop",
            "43101",
            "refused",
            "refused 43101 stop",
        ],
        ..ROW
    },
    Row { condition: "200 {}", send: &[Response::Body(b"{}")], reports: MAYBE_SENT, ..ROW },
    Row {
        condition: "200, errcode null",
        send: &[Response::Body(br#"{"errcode":null}"#)],
        reports: MAYBE_SENT,
        ..ROW
    },
    Row {
        condition: "200 of a gateway",
        send: &[Response::Body(br#"{"message":"no Route matched"}"#)],
        reports: MAYBE_SENT,
        ..ROW
    },
    Row {
        condition: "200, byte order mark before success",
        send: &[Response::Body(b"\xef\xbb\xbf{\"errcode\":0,\"errmsg\":\"ok\"}")],
        reports: MAYBE_SENT,
        ..ROW
    },
    Row { condition: "HTML", send: &[Response::Body(b"<html>login</html>")], reports: MAYBE_SENT, ..ROW },
    Row { condition: "status 500", send: &[Response::Status(500)], reports: MAYBE_SENT, ..ROW },
    Row { condition: "response lost", send: &[Response::Lost], reports: MAYBE_SENT, ..ROW },
    Row {
        condition: "no connection for the send",
        token: &[Response::LastToken],
        reports: [
            "not_sent send retry_later",
            "4 not_sent send retry_later",
            "503 not_sent send retry_later, Retry-After",
            "-1",
            "not_sent",
            "not_sent retry_later",
        ],
        ..ROW
    },
    Row {
        condition: "no connection for the token call",
        token: &[],
        with_token: Some((&[Response::Token], &[Response::LastBody(STALE)])),
        reports: [
            "not_sent token retry_later",
            "4 not_sent token retry_later",
            "503 not_sent token retry_later, Retry-After",
            "-1",
            "not_sent",
            "not_sent retry_later",
        ],
        ..ROW
    },
    Row {
        condition: "token call refused: address",
        token: &[Response::Body(br#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7, not in whitelist"}"#)],
        with_token: Some((
            &[
                Response::Token,
                Response::Body(br#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7, not in whitelist"}"#),
            ],
            &[Response::Body(STALE)],
        )),
        reports: [
            "not_sent token 40164 allow_ip",
            "4 not_sent token 40164 allow_ip",
            "503 not_sent token 40164 allow_ip, Retry-After",
            "-1 for 40164 allow_ip",
            "not_sent",
            "not_sent 40164 allow_ip",
        ],
        ..ROW
    },
    Row {
        condition: "token call refused: secret, damaged",
        token: &[Response::Body(b"\xef\xbb\xbf{\"errcode\":40125,\"errmsg\":\"invalid appsecret\"}")],
        with_token: Some((
            &[
                Response::Token,
                Response::Body(b"\xef\xbb\xbf{\"errcode\":40125,\"errmsg\":\"invalid appsecret\"}"),
            ],
            &[Response::Body(STALE)],
        )),
        reports: [
            "not_sent token 40125 fix_config",
            "4 not_sent token 40125 fix_config",
            "503 not_sent token 40125 fix_config, Retry-After",
            "-1 for 40125 fix_config",
            "not_sent",
            "not_sent 40125 fix_config",
        ],
        ..ROW
    },
    Row {
        condition: "token call without response",
        token: &[Response::Never],
        with_token: Some((&[Response::Token, Response::Never], &[Response::Body(STALE)])),
        reports: [
            "not_sent token retry_later",
            "4 not_sent token retry_later",
            "503 not_sent token retry_later, Retry-After",
            "-1",
            "not_sent",
            "not_sent retry_later",
        ],
        ..ROW
    },
    Row {
        condition: "invalid message",
        title: "",
        reports: ["invalid", "2 invalid", "422 invalid", "47003", "nothing", "nothing"],
        ..ROW
    },
];

const MAYBE_SENT: [&str; 6] = [
    "maybe_sent send investigate",
    "5 maybe_sent send investigate",
    "504 maybe_sent send investigate",
    "900504",
    "maybe_sent",
    "maybe_sent investigate",
];

#[test]
fn all_report_the_same_truth() {
    let mut wrong = Vec::new();
    for row in ROWS {
        let (v1, compatible) = (Observed::by_v1(row), Observed::by_compatible(row));
        assert_eq!((&v1.metrics, &v1.log), (&compatible.metrics, &compatible.log), "{}", row.condition);
        let reports = [library(row), command(row), v1.response, compatible.response, v1.metrics, v1.log];
        for (name, (report, expected)) in NAMES.iter().zip(reports.iter().zip(row.reports)) {
            if report != expected {
                wrong.push(format!("{}, {name}: {report}, not {expected}", row.condition));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const NAMES: [&str; 6] = ["library", "CLI", "v1 API", "Weixin-compatible API", "metrics", "log"];

impl Row {
    fn message(&self) -> Value {
        json!({
            "touser": OPENID, "template_id": TEMPLATE, "scene": "7", "title": self.title,
            "data": {"content": {"value": "It is here."}},
        })
    }

    /// Seconds that a send may take. Only what never ends is waited for.
    fn limit(&self) -> u64 {
        if matches!(self.token, [Response::Never]) { 2 } else { 30 }
    }

    fn weixin(&self) -> String {
        weixin(self.token, self.send)
    }
}

/// Responds to one request per connection. Gives the base URL.
fn weixin(token: &'static [Response], send: &'static [Response]) -> String {
    if token.is_empty() {
        return UNUSED_BASE.to_owned();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(listener, token.to_vec().into(), send.to_vec().into()));
    base
}

fn serve(listener: TcpListener, mut token: VecDeque<Response>, mut send: VecDeque<Response>) {
    let (mut listener, mut tokens, mut open) = (Some(listener), 0, Vec::new());
    while let Some(accepted) = listener.as_ref().map(TcpListener::accept) {
        let mut stream = accepted.unwrap().0;
        let Some(path) = read_request(&stream) else { continue };
        let responses = if path == SEND { &mut send } else { &mut token };
        let response = if responses.len() > 1 { responses.pop_front().unwrap() } else { responses[0] };
        if matches!(response, Response::LastToken | Response::LastBody(_)) {
            listener = None;
        }
        let (status, body) = match response {
            Response::Token | Response::LastToken => {
                tokens += 1;
                let body = json!({"access_token": format!("TOKEN-{tokens}"), "expires_in": 7200});
                (200, body.to_string().into_bytes())
            }
            Response::Body(body) | Response::LastBody(body) => (200, body.to_vec()),
            Response::Status(status) => (status, br#"{"errcode":0,"errmsg":"ok"}"#.to_vec()),
            Response::Lost => continue,
            Response::Never => {
                open.push(stream);
                continue;
            }
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        // The other side may have given up.
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    }
}

/// Reads a request to its end. Gives its path.
fn read_request(stream: &TcpStream) -> Option<String> {
    let (mut input, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") {
        if input.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
    input.read_exact(&mut vec![0; length]).ok()?;
    head.split([' ', '?']).nth(1).map(str::to_owned)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn library(row: &Row) -> String {
    let json = row.message().to_string();
    let draft = MessageDraft::from_json(json.as_bytes()).unwrap();
    let Ok(message) = draft.validate() else { return "invalid".to_owned() };
    let transport = HyperTransport::builder().roots(Roots::Bundled).build().unwrap();
    let client = Client::builder(APPID, SECRET, transport)
        .api_base(wxsub_proto::BaseUrl::new(&row.weixin()).unwrap())
        .timeout(Duration::from_secs(row.limit()))
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Err(error) = runtime.block_on(client.send(&message)) else { return "sent".to_owned() };
    let outcome = match error.delivery() {
        Delivery::Rejected => "refused",
        Delivery::NotSent => "not_sent",
        Delivery::MaybeSent => "maybe_sent",
    };
    let stage = if error.operation() == Operation::FetchToken { "token" } else { "send" };
    let errcode = error.errcode().map(|errcode| format!(" {errcode}")).unwrap_or_default();
    format!("{outcome} {stage}{errcode} {}", error.remedy())
}

/// The members of a result object that decide what to do.
fn summary(result: &Value) -> String {
    let members = ["outcome", "stage", "errcode", "remedy"].map(|name| match &result[name] {
        Value::Null => String::new(),
        Value::String(text) => format!(" {text}"),
        value => format!(" {value}"),
    });
    members.concat().trim_start().to_owned()
}

fn command(row: &Row) -> String {
    let call = wxsub(["send", "--to", OPENID, "--template", TEMPLATE, "--scene", "7", "--json"])
        .args(["--title", row.title, "--content", "It is here."])
        .args(["--timeout", &row.limit().to_string()]);
    let ended = pointed_at(&row.weixin(), call).run();
    format!("{} {}", ended.code, summary(&ended.json()[0]))
}

/// What came of a send through a server of its own.
struct Observed {
    response: String,
    metrics: String,
    log: String,
}

struct Server {
    served: Served,
    key: String,
}

impl Server {
    fn start(row: &Row, weixin: &str) -> Self {
        let (key, lines) = client("orders", ALL);
        let limits = format!("[limits]\nrequest_timeout_s = {}\n", row.limit());
        let config = config("outcomes.toml", weixin, &(lines + &limits));
        let call = wxsub(["serve", "--config", &config]).env("WXSUB_LOG_FORMAT", "json");
        Self { served: Served::start_as(call), key }
    }

    /// Head and body of an response.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (String, String) {
        let (mut stream, body) = (TcpStream::connect(self.served.address()).unwrap(), body.to_string());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.key,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn observed(mut self, response: String, client: Option<&str>) -> Observed {
        let text = self.ask("GET", "/metrics", &Value::Null).1;
        let counted = text.lines().filter_map(|line| {
            let counts = line.strip_prefix("wxsub_sends_total{")?.strip_suffix("} 1")?;
            counts.split_once("outcome=\"")?.1.strip_suffix('"')
        });
        let metrics = one(counted.map(str::to_owned).collect());
        signal(&self.served.child, "TERM");
        let mut log = String::new();
        self.served.said.read_to_string(&mut log).unwrap();
        assert!(!log.contains(OPENID), "{log}");
        // What the command itself says is no JSON.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_sends = lines.filter(|line| {
            ["wxsub_core::client", "wxsub_server::apps::send"].contains(&line["target"].as_str().unwrap())
        });
        Observed { response, metrics, log: one(of_sends.map(|line| log_line(&line, client)).collect()) }
    }
}

/// The only one, if there is one.
fn one(mut all: Vec<String>) -> String {
    assert!(all.len() <= 1, "{all:?}");
    all.pop().unwrap_or_else(|| "nothing".to_owned())
}

fn log_line(line: &Value, client: Option<&str>) -> String {
    let fields = &line["fields"];
    assert_eq!((&line["level"], &fields["appid"]), (&json!("WARN"), &json!(APPID)), "{line}");
    assert_eq!(line["span"]["client"].as_str(), client, "{line}");
    assert!(fields["text"].is_string(), "{line}");
    let outcome = match fields["message"].as_str().unwrap() {
        "Weixin refused a message" => "refused",
        "a message was not sent" => "not_sent",
        "a message may have been sent" => "maybe_sent",
        other => panic!("{other}"),
    };
    let errcode = fields["errcode"].as_i64().map(|errcode| format!(" {errcode}")).unwrap_or_default();
    let rid = if fields["rid"] == "6004f3da-1529ba72-5c345f67" { " rid" } else { "" };
    format!("{outcome}{errcode} {}{rid}", fields["remedy"].as_str().unwrap())
}

impl Observed {
    fn by_v1(row: &Row) -> Self {
        let server = Server::start(row, &row.weixin());
        let (head, body) = server.ask("POST", &format!("/v1/apps/{APPID}/messages"), &row.message());
        let status = head.split(' ').nth(1).unwrap();
        let after = if header(&head, "retry-after").is_some() { ", Retry-After" } else { "" };
        let response = format!("{status} {}{after}", summary(&serde_json::from_str(&body).unwrap()));
        server.observed(response, Some("orders"))
    }

    fn by_compatible(row: &Row) -> Self {
        let (tokens, sends) = row.with_token.unwrap_or((row.token, row.send));
        let server = Server::start(row, &weixin(tokens, sends));
        let key = &server.key;
        let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APPID}&secret={key}");
        let token: Value = serde_json::from_str(&server.ask("GET", &path, &Value::Null).1).unwrap();
        let path = format!("{SEND}?access_token={}", token["access_token"].as_str().unwrap());
        let (head, body) = server.ask("POST", &path, &row.message());
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let response: Value = serde_json::from_str(&body).unwrap();
        let errmsg = response["errmsg"].as_str().unwrap();
        let word_after = |text| errmsg.split_once(text).and_then(|(_, rest)| rest.split(':').next());
        let named = match (word_after("errcode "), word_after("; remedy ")) {
            (Some(errcode), Some(remedy)) => format!(" for {errcode} {remedy}"),
            _ => String::new(),
        };
        server.observed(format!("{}{named}", response["errcode"]), None)
    }
}
