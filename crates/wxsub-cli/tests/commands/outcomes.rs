//! Every way a send can end, as the library, the command line, both APIs, the metrics and the log report it.

use std::collections::VecDeque;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_core::Client;
use wxsub_core::error::Delivery;
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_proto::Operation;
use wxsub_proto::message::MessageDraft;

use super::served::{self, KEY, Served, config, exchange};
use super::weixin::{APPID, SECRET, SEND, TEMPLATE, UNUSED_BASE, header, pointed_at, read_message};
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

/// How a send ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Sent,
    /// Errcode and remedy, and what the log has behind them.
    Refused(i32, &'static str, &'static str),
    /// The operation that failed, and errcode and remedy if Weixin refused it.
    NotSent(&'static str, Option<(i32, &'static str)>),
    MaybeSent,
    Invalid,
}

impl End {
    /// What each reports: library, command line, v1 API, Weixin-compatible API, metrics, log.
    fn reports(self) -> [String; 6] {
        let (result, exit, status, errcode, outcome, detail) = match self {
            Self::Sent => return ["sent", "0 sent", "200 sent", "0", "sent", "nothing"].map(str::to_owned),
            Self::Invalid => {
                return ["invalid", "2 invalid", "422 invalid", "47003", "nothing", "nothing"]
                    .map(str::to_owned);
            }
            Self::Refused(code, remedy, logged) => {
                let detail = format!("{code} {remedy}");
                (format!("send {detail}"), 3, "422", code.to_string(), "refused", detail + logged)
            }
            Self::NotSent(operation, None) => (
                format!("{operation} retry_later"),
                4,
                "503",
                "-1".to_owned(),
                "not_sent",
                "retry_later".to_owned(),
            ),
            Self::NotSent(operation, Some((code, remedy))) => {
                let detail = format!("{code} {remedy}");
                (format!("{operation} {detail}"), 4, "503", format!("-1 for {detail}"), "not_sent", detail)
            }
            Self::MaybeSent => {
                let (result, detail) = ("send investigate".to_owned(), "investigate".to_owned());
                (result, 5, "504", "900504".to_owned(), "maybe_sent", detail)
            }
        };
        let after = if outcome == "not_sent" { ", Retry-After" } else { "" };
        [
            format!("{outcome} {result}"),
            format!("{exit} {outcome} {result}"),
            format!("{status} {outcome} {result}{after}"),
            errcode,
            outcome.to_owned(),
            format!("{outcome} {detail}"),
        ]
    }
}

/// A condition at Weixin, and how a send then ends.
struct Row {
    condition: &'static str,
    title: &'static str,
    /// Responses to token calls and to sends. The last is given to all that follow.
    token: &'static [Response],
    send: &'static [Response],
    end: End,
}

const fn on_send(condition: &'static str, send: &'static [Response], end: End) -> Row {
    Row { condition, title: "Parcel", token: &[Response::Token], send, end }
}

const fn on_token_call(
    condition: &'static str,
    token: &'static [Response],
    refused: Option<(i32, &'static str)>,
) -> Row {
    Row { condition, title: "Parcel", token, send: &[OK], end: End::NotSent("token", refused) }
}

const ROWS: &[Row] = &[
    on_send("accepted", &[OK], End::Sent),
    on_send("accepted, errcode as text", &[Response::Body(br#"{"errcode":"0","errmsg":"ok"}"#)], End::Sent),
    on_send("stale token, then accepted", &[Response::Body(STALE), OK], End::Sent),
    on_send("stale token twice", &[Response::Body(STALE)], End::Refused(42001, "refresh_token", " rid")),
    on_send(
        "refused: no consent",
        &[Response::Body(
            br#"{"errcode":43101,"errmsg":"no oPLANTED-openid-0123456789ab rid: 6004f3da-1529ba72-5c345f67"}"#,
        )],
        End::Refused(43101, "stop", " rid"),
    ),
    on_send(
        "refused: day's quota",
        &[Response::Body(br#"{"errcode":45009,"errmsg":"reach max api daily quota limit"}"#)],
        End::Refused(45009, "slow_down", ""),
    ),
    on_send(
        "refused: busy",
        &[Response::Body(br#"{"errcode":-1,"errmsg":"system error"}"#)],
        End::Refused(-1, "retry_later", ""),
    ),
    on_send(
        "refused: unknown code",
        &[Response::Body(br#"{"errcode":123456789}"#)],
        End::Refused(123_456_789, "investigate", ""),
    ),
    on_send(
        "refused: control character and GBK in errmsg",
        &[Response::Body(b"{\"errcode\":43101,\"errmsg\":\"\xd3\xc3\x01\"}")],
        End::Refused(43101, "stop", ""),
    ),
    on_send("200 {}", &[Response::Body(b"{}")], End::MaybeSent),
    on_send("200, errcode null", &[Response::Body(br#"{"errcode":null}"#)], End::MaybeSent),
    on_send("200 of a gateway", &[Response::Body(br#"{"message":"no Route matched"}"#)], End::MaybeSent),
    on_send(
        "200, byte order mark before success",
        &[Response::Body(b"\xef\xbb\xbf{\"errcode\":0,\"errmsg\":\"ok\"}")],
        End::MaybeSent,
    ),
    on_send("HTML", &[Response::Body(b"<html>login</html>")], End::MaybeSent),
    on_send("status 500", &[Response::Status(500)], End::MaybeSent),
    on_send("response lost", &[Response::Lost], End::MaybeSent),
    Row {
        condition: "no connection for the send",
        title: "Parcel",
        token: &[Response::LastToken],
        send: &[],
        end: End::NotSent("send", None),
    },
    on_token_call("no connection for the token call", &[], None),
    on_token_call(
        "token call refused: address",
        &[Response::Body(br#"{"errcode":40164,"errmsg":"invalid ip 192.0.2.7, not in whitelist"}"#)],
        Some((40164, "allow_ip")),
    ),
    on_token_call(
        "token call refused: secret, damaged",
        &[Response::Body(b"\xef\xbb\xbf{\"errcode\":40125,\"errmsg\":\"invalid appsecret\"}")],
        Some((40125, "fix_config")),
    ),
    on_token_call("token call without response", &[Response::Never], None),
    Row { condition: "invalid message", title: "", token: &[Response::Token], send: &[OK], end: End::Invalid },
];

#[test]
fn all_report_the_same_truth() {
    let mut wrong = Vec::new();
    for row in ROWS {
        let (v1, compatible) = (Observed::by_v1(row), Observed::by_compatible(row));
        assert_eq!((&v1.metrics, &v1.log), (&compatible.metrics, &compatible.log), "{}", row.condition);
        let reports = [library(row), command(row), v1.response, compatible.response, v1.metrics, v1.log];
        for (name, (report, expected)) in NAMES.iter().zip(reports.iter().zip(row.end.reports())) {
            if *report != expected {
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
        weixin(self.token.to_vec(), self.send.to_vec())
    }

    /// Weixin for the Weixin-compatible API, where a client has a token before it sends.
    fn weixin_with_token(&self) -> String {
        if !matches!(self.end, End::NotSent("token", _)) {
            return self.weixin();
        }
        let stale = if self.token.is_empty() { Response::LastBody(STALE) } else { Response::Body(STALE) };
        weixin([&[Response::Token], self.token].concat(), vec![stale])
    }
}

/// Responds to one request per connection. Gives the base URL.
fn weixin(token: Vec<Response>, send: Vec<Response>) -> String {
    if token.is_empty() {
        return UNUSED_BASE.to_owned();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(listener, token.into(), send.into()));
    base
}

fn serve(listener: TcpListener, mut token: VecDeque<Response>, mut send: VecDeque<Response>) {
    let (mut listener, mut tokens, mut open) = (Some(listener), 0, Vec::new());
    while let Some(accepted) = listener.as_ref().map(TcpListener::accept) {
        let mut stream = accepted.unwrap().0;
        let Some((head, _)) = read_message(&mut BufReader::new(&stream)) else { continue };
        let path = head.split([' ', '?']).nth(1).unwrap();
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
    let call = wxsub(&["send", "--to", OPENID, "--template", TEMPLATE, "--scene", "7", "--json"])
        .args(&["--title", row.title, "--content", "It is here."])
        .args(&["--timeout", &row.limit().to_string()]);
    let ended = pointed_at(&row.weixin(), call).run();
    format!("{} {}", ended.code, summary(&ended.json()[0]))
}

/// What came of a send through a server of its own.
struct Observed {
    response: String,
    metrics: String,
    log: String,
}

/// A server before this Weixin, with this many seconds for a request.
fn start(weixin: &str, limit: u64) -> Served {
    let limits = format!("[limits]\nrequest_timeout_s = {limit}\n");
    let config = config("outcomes.toml", weixin, &limits);
    let call = wxsub(&["serve", "--config", &config]).env("WXSUB_LOG_FORMAT", "json");
    Served::start_as(call)
}

fn request(server: &Served, method: &str, path: &str, body: &Value) -> served::Response {
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {KEY}\r\n");
    let (request, body) = (format!("{method} {path}"), body.to_string());
    exchange(server.address(), &request, &headers, body.as_bytes()).unwrap()
}

fn observed(server: Served, response: String, client: Option<&str>) -> Observed {
    let text = request(&server, "GET", "/metrics", &Value::Null).body;
    let counted = text.lines().filter_map(|line| {
        let counts = line.strip_prefix("wxsub_sends_total{")?.strip_suffix("} 1")?;
        counts.split_once("outcome=\"")?.1.strip_suffix('"')
    });
    let metrics = one(counted.map(str::to_owned).collect());
    let (_, log) = server.stop_and_read("TERM");
    assert!(!log.contains(OPENID), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_sends = lines.filter(|line| {
        ["wxsub_core::client", "wxsub_server::apps::send"].contains(&line["target"].as_str().unwrap())
    });
    Observed { response, metrics, log: one(of_sends.map(|line| log_line(&line, client)).collect()) }
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
        let server = start(&row.weixin(), row.limit());
        let served::Response { status, head, body } =
            request(&server, "POST", &format!("/v1/apps/{APPID}/messages"), &row.message());
        let after = if header(&head, "retry-after").is_some() { ", Retry-After" } else { "" };
        let response = format!("{status} {}{after}", summary(&serde_json::from_str(&body).unwrap()));
        observed(server, response, Some("orders"))
    }

    fn by_compatible(row: &Row) -> Self {
        // The token that the client has before must come within the limit.
        let server = start(&row.weixin_with_token(), row.limit().max(10));
        let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APPID}&secret={KEY}");
        let token: Value = serde_json::from_str(&request(&server, "GET", &path, &Value::Null).body).unwrap();
        let path = format!("{SEND}?access_token={}", token["access_token"].as_str().unwrap());
        let served::Response { status, head, body } = request(&server, "POST", &path, &row.message());
        assert_eq!(status, 200, "{head}");
        let response: Value = serde_json::from_str(&body).unwrap();
        let errmsg = response["errmsg"].as_str().unwrap();
        let word_after = |text| errmsg.split_once(text).and_then(|(_, rest)| rest.split(':').next());
        let named = match (word_after("errcode "), word_after("; remedy ")) {
            (Some(errcode), Some(remedy)) => format!(" for {errcode} {remedy}"),
            _ => String::new(),
        };
        observed(server, format!("{}{named}", response["errcode"]), None)
    }
}
