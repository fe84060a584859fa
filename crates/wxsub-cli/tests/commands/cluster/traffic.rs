//! Readers and senders for every server, as behind a load balancer. A server that is out gets no new requests. Its pending
//! requests go to a peer if that is safe.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_sandbox::Sandbox;

use super::super::served::{KEY, head};
use super::super::weixin::{APPID, TEMPLATE, allow, header};

const READ_EVERY: Duration = Duration::from_millis(100);
const SEND_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Traffic {
    shared: Arc<Shared>,
    users: Vec<JoinHandle<()>>,
}

/// The state that all readers and senders share.
struct Shared {
    places: Vec<Place>,
    sandbox: Sandbox,
    over: AtomicBool,
    seen: Mutex<Seen>,
}

/// The address of a server, unless the load balancer has taken it out.
struct Place {
    address: Mutex<Option<String>>,
    outages: AtomicUsize,
    sent: AtomicUsize,
}

/// The results of readers and senders.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) reads: usize,
    pub(super) tokens: BTreeSet<String>,
    pub(super) sent: Vec<String>,
    /// Messages in flight when a server went out. Their outcome is unknown.
    pub(super) unknown: Vec<String>,
    /// Violations.
    pub(super) wrong: Vec<String>,
}

impl Traffic {
    /// Starts a reader and a sender for so many of the servers.
    pub(super) fn start(addresses: &[&str], used: usize, sandbox: &Sandbox) -> Self {
        let place = |address: &&str| Place {
            address: Mutex::new(Some((*address).to_owned())),
            outages: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
        };
        let shared = Arc::new(Shared {
            places: addresses.iter().map(place).collect(),
            sandbox: sandbox.clone(),
            over: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let mut users = Vec::new();
        for home in 0..used {
            let (reading, sending) = (Arc::clone(&shared), Arc::clone(&shared));
            users.push(spawn(move || reading.keep_reading(home)));
            users.push(spawn(move || sending.keep_sending(home)));
        }
        Self { shared, users }
    }

    pub(super) fn take_out(&self, server: usize) {
        let place = &self.shared.places[server];
        *place.address.lock().unwrap() = None;
        place.outages.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn put_back(&self, server: usize, address: &str) {
        *self.shared.places[server].address.lock().unwrap() = Some(address.to_owned());
    }

    pub(super) fn assert_healthy(&self) {
        self.shared.seen.lock().unwrap().assert_healthy();
    }

    /// The number of messages sent through each server.
    pub(super) fn sent(&self) -> Vec<usize> {
        self.shared.places.iter().map(|place| place.sent.load(Ordering::SeqCst)).collect()
    }

    /// Ends the traffic when all requests have a response.
    pub(super) fn end(self) -> Seen {
        self.shared.over.store(true, Ordering::SeqCst);
        self.users.into_iter().for_each(|user| user.join().unwrap());
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }
}

/// The result of a request to one server.
struct Asked {
    response: Result<(u16, String), NoResponse>,
    /// Whether the server went out meanwhile.
    went_out: bool,
}

impl Shared {
    fn resumes(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    fn wrong(&self, what: String) {
        self.seen.lock().unwrap().wrong.push(what);
    }

    /// Sends a request to this server. Nothing if it is out.
    fn ask(&self, place: usize, call: &Call<'_>, waits: bool) -> Option<Asked> {
        let place = &self.places[place];
        let outages = place.outages.load(Ordering::SeqCst);
        let went_out = || place.outages.load(Ordering::SeqCst) != outages;
        let address = place.address.lock().unwrap().clone()?;
        let response = call.at(&address, || !waits && went_out());
        Some(Asked { response, went_out: went_out() })
    }

    /// The server of this user, then its peers in order.
    fn from(&self, home: usize) -> impl Iterator<Item = usize> + use<> {
        let all = self.places.len();
        (0..all).map(move |further| (home + further) % all)
    }

    fn keep_reading(&self, home: usize) {
        let mut newest = vec![0; self.places.len()];
        while self.resumes() {
            self.read_once(home, &mut newest);
            pause(READ_EVERY);
        }
    }

    fn read_once(&self, home: usize, newest: &mut [u64]) {
        let call = Call { method: "GET", path: &read(""), body: "" };
        for place in self.from(home) {
            let Some(Asked { response, went_out }) = self.ask(place, &call, false) else { continue };
            match response {
                Ok((200, body)) => return self.has_read(place, &body, newest),
                _ if went_out => {}
                response => return self.wrong(format!("a read at server {place}: {response:?}")),
            }
        }
        self.wrong("no server is left for a read".to_owned());
    }

    fn has_read(&self, place: usize, body: &str, newest: &mut [u64]) {
        let token: Value = serde_json::from_str(body).unwrap();
        let generation = token["generation"].as_u64().unwrap();
        if generation < newest[place] {
            self.wrong(format!("server {place} went back from {} to {generation}", newest[place]));
        }
        newest[place] = generation;
        let mut seen = self.seen.lock().unwrap();
        seen.reads += 1;
        seen.tokens.insert(token["access_token"].as_str().unwrap().to_owned());
    }

    fn keep_sending(&self, home: usize) {
        for number in 0.. {
            if !self.resumes() {
                return;
            }
            self.send_once(home, &format!("o{home}-{number}"));
            pause(SEND_EVERY);
        }
    }

    /// Sends a message. Tries a peer only if it was certainly not sent.
    fn send_once(&self, home: usize, openid: &str) {
        allow(&self.sandbox, openid, 1);
        let call = Call { method: "POST", path: &messages(), body: &message(openid) };
        for place in self.from(home) {
            let Some(Asked { response, went_out }) = self.ask(place, &call, true) else { continue };
            match response {
                Ok((200, _)) => {
                    self.places[place].sent.fetch_add(1, Ordering::SeqCst);
                    return self.seen.lock().unwrap().sent.push(openid.to_owned());
                }
                Err(NoResponse::NotSent) | Ok((503, _)) if went_out => {}
                Err(NoResponse::MaybeSent) | Ok((504, _)) if went_out => {
                    return self.seen.lock().unwrap().unknown.push(openid.to_owned());
                }
                response => return self.wrong(format!("a send at server {place}: {response:?}")),
            }
        }
        self.wrong("no server is left for a send".to_owned());
    }
}

pub(super) fn message(openid: &str) -> String {
    json!({
        "touser": openid, "template_id": TEMPLATE, "scene": "1", "title": "T",
        "data": { "content": { "value": "V", "color": "#000000" } },
    })
    .to_string()
}

impl Seen {
    fn assert_healthy(&self) {
        assert!(self.wrong.is_empty(), "{} went wrong: {:#?}", self.wrong.len(), self.wrong);
    }

    /// Checks that there is no violation, that sent messages arrived once, and messages with unknown outcome at most once.
    pub(super) fn check(&self, sandbox: &Sandbox) {
        self.assert_healthy();
        let arrived = |openid: &String| sandbox.mailbox(&openid.parse().unwrap()).len();
        assert!(self.sent.iter().all(|openid| arrived(openid) == 1));
        assert!(self.unknown.iter().all(|openid| arrived(openid) <= 1));
    }
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoResponse {
    /// No connection. Nothing was sent.
    NotSent,
    /// The connection ended, or the caller gave up.
    MaybeSent,
}

/// How often the caller checks whether to give up.
const LOOK: Duration = Duration::from_millis(200);

/// The number of checks before the caller gives up: two minutes.
const LOOKS: usize = 600;

pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) body: &'a str,
}

impl Call<'_> {
    /// Sends a request to this address. Returns status and body.
    pub(super) fn at(&self, address: &str, given_up: impl Fn() -> bool) -> Result<(u16, String), NoResponse> {
        let Self { method, path, body } = self;
        let mut stream = TcpStream::connect(address).map_err(|_| NoResponse::NotSent)?;
        let request = head(method, path, KEY, body.len()) + body;
        stream.write_all(request.as_bytes()).map_err(|_| NoResponse::MaybeSent)?;
        stream.set_read_timeout(Some(LOOK)).unwrap();
        let (mut response, mut piece, mut looks) = (Vec::new(), [0; 16_384], 0);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return whole(&response).ok_or(NoResponse::MaybeSent),
                Ok(read) => response.extend_from_slice(&piece[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    looks += 1;
                    if looks == LOOKS || given_up() {
                        return Err(NoResponse::MaybeSent);
                    }
                }
                Err(_) => return Err(NoResponse::MaybeSent),
            }
        }
    }
}

/// Status and body, if the response is complete.
fn whole(response: &[u8]) -> Option<(u16, String)> {
    let (head, body) = std::str::from_utf8(response).ok()?.split_once("\r\n\r\n")?;
    let length: usize = header(head, "content-length")?.parse().unwrap();
    (length == body.len()).then_some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

pub(super) fn read(more: &str) -> String {
    format!("/v1/apps/{APPID}/access_token{more}")
}

pub(super) fn messages() -> String {
    format!("/v1/apps/{APPID}/messages")
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) fn pause(time: Duration) {
    let clock = SystemClock::new();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { clock.sleep_until(clock.now().mono + time).await });
}
