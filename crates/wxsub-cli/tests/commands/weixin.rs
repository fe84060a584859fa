//! Sandboxes in place of Weixin, with one app: on a port, with messages that wait, and over a network that goes away.

use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use tokio::runtime::Runtime;
use wxsub_proto::{ConsentAction, ConsentRequest, OpenId};
use wxsub_sandbox::{AppSettings, Fault, Response, Sandbox, http};

use super::wxsub::{Wxsub, wxsub};

pub(crate) use wxsub_proto::endpoint::{
    stable_token::PATH as STABLE_TOKEN, subscribe::PATH as SEND, token::PATH as CLASSIC_TOKEN,
};

pub(crate) const APPID: &str = "wx0123456789abcdef";
pub(crate) const SECRET: &str = "PLANTED-secret-0123456789abcdef";
/// Some ids begin with a hyphen.
pub(crate) const TEMPLATE: &str = "-TEMPLATE_1";

/// The sandbox. It ends when this is dropped.
pub(crate) struct Weixin {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    _runtime: Runtime,
}

/// A sandbox with one app.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add_app(APPID.parse().unwrap(), SECRET.parse().unwrap(), [TEMPLATE.parse().unwrap()]);
    sandbox
}

/// The user of this openid allows one message.
pub(crate) fn allow(sandbox: &Sandbox, openid: &str, scene: u16) {
    let request = ConsentRequest::new(APPID, TEMPLATE, scene).unwrap();
    sandbox.consent(request, ConsentAction::Confirm { openid: openid.parse().unwrap() }).unwrap();
}

/// A call as the app of the sandbox at `base`.
pub(crate) fn pointed_at(base: &str, call: Wxsub) -> Wxsub {
    call.env("WXSUB_API_BASE", base).env("WXSUB_APPID", APPID).env("WXSUB_SECRET", SECRET)
}

impl Wxsub {
    /// The call through this control server, with this key.
    pub(crate) fn through(self, server: &str, key: &str) -> Self {
        self.env("WXSUB_SERVER", server).env("WXSUB_KEY", key).env("WXSUB_APPID", APPID)
    }

    /// With the flags of a consent of this user to scene 7.
    pub(crate) fn consent(self, openid: &str) -> Self {
        self.args(&["--to", openid, "--template", TEMPLATE, "--scene", "7"])
    }

    /// With the flags of a message to this user.
    pub(crate) fn message(self, openid: &str, content: &str) -> Self {
        self.consent(openid).args(&["--title", "t", "--content", content])
    }
}

impl Weixin {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = sandbox();
        runtime.spawn(http::serve(listener, sandbox.clone(), pending()));
        Self { sandbox, base, _runtime: runtime }
    }

    /// A call of the binary as this app.
    pub(crate) fn call(&self, arguments: &[&str]) -> Wxsub {
        pointed_at(&self.base, wxsub(arguments))
    }

    /// A message to this user, as flags.
    pub(crate) fn send(&self, openid: &str, scene: &str) -> Wxsub {
        let call = self.call(&["send", "--to", openid, "--template", TEMPLATE, "--scene", scene]);
        call.args(&["--title", "Parcel", "--content", "It is here."])
    }

    pub(crate) fn allow(&self, openid: &str, scene: u16) -> &Self {
        allow(&self.sandbox, openid, scene);
        self
    }

    /// Changes the settings of the app.
    pub(crate) fn set(&self, change: impl FnOnce(&mut AppSettings)) -> &Self {
        let appid = APPID.parse().unwrap();
        let mut settings = self.sandbox.settings(&appid).unwrap();
        change(&mut settings);
        self.sandbox.configure(&appid, settings).unwrap();
        self
    }

    /// It accepts calls from another address only.
    pub(crate) fn block_address(&self) -> &Self {
        self.set(|app| app.allowed_ips = Some(vec!["192.0.2.7".parse().unwrap()]))
    }

    pub(crate) fn fault(&self, path: &str, fault: Fault) -> &Self {
        self.sandbox.add_fault(path, 1, fault);
        self
    }

    /// How many requests reached this path.
    pub(crate) fn seen(&self, path: &str) -> u64 {
        self.sandbox.event_log().request_count(path)
    }

    /// How many requests reached any path.
    pub(crate) fn seen_any(&self) -> u64 {
        self.sandbox.event_log().requests.values().sum()
    }

    /// The texts of the messages this user received.
    pub(crate) fn received(&self, openid: &str) -> Vec<String> {
        let openid: OpenId = openid.parse().unwrap();
        let mailbox = self.sandbox.mailbox(&openid);
        mailbox
            .iter()
            .map(|message| message.body["data"]["content"]["value"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// One message as a line of a file.
pub(crate) fn line(openid: &str, scene: u16, content: &str) -> String {
    format!(
        r#"{{"touser":"{openid}","template_id":"{TEMPLATE}","scene":"{scene}","title":"Parcel","data":{{"content":{{"value":"{content}"}}}}}}"#
    )
}

/// A base URL without a server.
pub(crate) const UNUSED_BASE: &str = "http://127.0.0.1:1";

/// Delays every message with the text "hold" until it is opened.
pub(crate) struct Gate {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    arrivals: Receiver<()>,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (arrived, arrivals) = channel();
        let (sandbox, open) = (sandbox(), Arc::new((Mutex::new(false), Condvar::new())));
        let gate = Self { sandbox: sandbox.clone(), base, arrivals, open: Arc::clone(&open) };
        let respond = move |method: &str, target: &str, body: &[u8]| {
            if target.starts_with(SEND) {
                arrived.send(()).ok()?;
                let held = String::from_utf8_lossy(body).contains("hold");
                let closed = open.0.lock().unwrap();
                drop(open.1.wait_while(closed, |open| held && !*open).unwrap());
            }
            sandbox.handle(method, target, body).outcome.ok()
        };
        thread::spawn(move || accept(&listener, || true, respond));
        gate
    }

    /// Waits until this many more messages have arrived.
    pub(crate) fn wait_for(&self, messages: usize) {
        for _ in 0..messages {
            self.arrivals.recv().unwrap();
        }
    }

    /// Opens the gate for all messages.
    pub(crate) fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }
}

/// Serves each connection in a thread of its own, while it may take another one.
fn accept(
    listener: &TcpListener,
    may_take: impl Fn() -> bool,
    respond: impl Fn(&str, &str, &[u8]) -> Option<Response> + Clone + Send + 'static,
) {
    for stream in listener.incoming() {
        if !may_take() {
            return;
        }
        let respond = respond.clone();
        // The other side notices a broken connection.
        thread::spawn(move || serve_connection(&stream.unwrap(), respond));
    }
}

/// A field of the head of a request or a response.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Reads the head and the body of a request or a response. Nothing if the connection ends before.
pub(crate) fn read_message(input: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if input.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut body = vec![0; header(&head, "content-length").map_or(0, |length| length.parse().unwrap())];
    input.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Serves one connection. If `respond` returns nothing, the connection is closed without a response.
fn serve_connection(
    stream: &TcpStream,
    respond: impl Fn(&str, &str, &[u8]) -> Option<Response>,
) -> Option<()> {
    let mut input = BufReader::new(stream);
    loop {
        let (head, body) = read_message(&mut input)?;
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let response = respond(method, target, &body)?;
        let head = format!(
            "HTTP/1.1 {} OK\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n",
            response.status,
            response.body.len()
        );
        let mut output = stream;
        output.write_all(&[head.as_bytes(), &response.body].concat()).ok()?;
    }
}

/// A sandbox whose network fails after a number of messages: every connection breaks at its next request.
pub(crate) struct Breakable {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    hold_at: Arc<(Mutex<u64>, Condvar)>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Breakable {
    /// Takes this many messages.
    pub(crate) fn start(messages: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, sandbox) = (listener.local_addr().unwrap(), sandbox());
        let hold_at = Arc::new((Mutex::new(u64::MAX), Condvar::new()));
        let accepting = take(listener, sandbox.clone(), messages, Arc::clone(&hold_at));
        Self { sandbox, base: format!("http://{address}"), hold_at, address, accepting }
    }

    /// Messages beyond this number wait until it is raised.
    pub(crate) fn hold_at(&self, messages: u64) {
        *self.hold_at.0.lock().unwrap() = messages;
        self.hold_at.1.notify_all();
    }

    /// Waits until the network has failed, and restores it.
    pub(crate) fn restore(self) -> Sandbox {
        self.accepting.join().unwrap();
        let listener = TcpListener::bind(self.address).unwrap();
        take(listener, self.sandbox.clone(), i64::MAX, self.hold_at);
        self.sandbox
    }
}

/// Ends, and closes the address, when the last message was taken.
fn take(
    listener: TcpListener,
    sandbox: Sandbox,
    messages: i64,
    hold_at: Arc<(Mutex<u64>, Condvar)>,
) -> JoinHandle<()> {
    let (left, address) = (Arc::new(AtomicI64::new(messages)), listener.local_addr().unwrap());
    let still_left = Arc::clone(&left);
    let respond = move |method: &str, target: &str, body: &[u8]| {
        let is_message = target.starts_with(SEND);
        if is_message {
            let is_held = |hold_at: &mut u64| sandbox.event_log().request_count(SEND) >= *hold_at;
            drop(hold_at.1.wait_while(hold_at.0.lock().unwrap(), is_held).unwrap());
        }
        let before = left.fetch_sub(i64::from(is_message), Ordering::SeqCst);
        if before <= 0 {
            return None;
        }
        let response = sandbox.handle(method, target, body).outcome.unwrap();
        if before == 1 && is_message {
            // Wakes the thread that accepts, and waits until its end has closed the address.
            while TcpStream::connect(address).is_ok() {}
        }
        Some(response)
    };
    thread::spawn(move || accept(&listener, || still_left.load(Ordering::SeqCst) > 0, respond))
}
