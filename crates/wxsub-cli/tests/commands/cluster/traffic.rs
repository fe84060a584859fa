//! Readers and senders at every server, as behind a load balancer: one that is out gets no new requests, and what it was
//! asked when it went out is asked elsewhere if that is safe.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_sandbox::Sandbox;

use super::super::weixin::{TEMPLATE, allow};
use super::call::{Call, NoAnswer};
use super::{messages, pause, read};

const READ_EVERY: Duration = Duration::from_millis(100);
const SEND_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Traffic {
    road: Arc<Road>,
    users: Vec<JoinHandle<()>>,
}

/// What all readers and senders share.
struct Road {
    places: Vec<Place>,
    key: String,
    sandbox: Sandbox,
    over: AtomicBool,
    seen: Mutex<Seen>,
}

/// Where a server is, unless the load balancer has taken it out.
struct Place {
    address: Mutex<Option<String>>,
    outages: AtomicUsize,
    sent: AtomicUsize,
}

/// What the readers and senders have seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) reads: usize,
    pub(super) tokens: BTreeSet<String>,
    pub(super) sent: Vec<String>,
    /// Messages at a server when it went out, of which nobody can tell.
    pub(super) unknown: Vec<String>,
    /// What must not happen.
    pub(super) wrong: Vec<String>,
}

impl Traffic {
    /// A reader and a sender for each of these servers.
    pub(super) fn start(addresses: &[&str], key: &str, sandbox: &Sandbox) -> Self {
        let place = |address: &&str| Place {
            address: Mutex::new(Some((*address).to_owned())),
            outages: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
        };
        let road = Arc::new(Road {
            places: addresses.iter().map(place).collect(),
            key: key.to_owned(),
            sandbox: sandbox.clone(),
            over: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let mut users = Vec::new();
        for home in 0..addresses.len() {
            let (reading, sending) = (Arc::clone(&road), Arc::clone(&road));
            users.push(spawn(move || reading.keep_reading(home)));
            users.push(spawn(move || sending.keep_sending(home)));
        }
        Self { road, users }
    }

    pub(super) fn take_out(&self, server: usize) {
        let place = &self.road.places[server];
        *place.address.lock().unwrap() = None;
        place.outages.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn put_back(&self, server: usize, address: &str) {
        *self.road.places[server].address.lock().unwrap() = Some(address.to_owned());
    }

    pub(super) fn nothing_is_wrong(&self) {
        self.road.seen.lock().unwrap().nothing_is_wrong();
    }

    /// How many messages went out through each of the servers.
    pub(super) fn sent(&self) -> Vec<usize> {
        self.road.places.iter().map(|place| place.sent.load(Ordering::SeqCst)).collect()
    }

    /// Ends it, when everything that is under way has its answer.
    pub(super) fn end(self) -> Seen {
        self.road.over.store(true, Ordering::SeqCst);
        self.users.into_iter().for_each(|user| user.join().unwrap());
        std::mem::take(&mut *self.road.seen.lock().unwrap())
    }
}

/// What came of a request at one server.
struct Asked {
    answer: Result<(u16, String), NoAnswer>,
    /// Whether the server went out meanwhile.
    went_out: bool,
}

impl Road {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    fn wrong(&self, what: String) {
        self.seen.lock().unwrap().wrong.push(what);
    }

    /// Asks this server; nothing if it is out.
    fn ask(&self, place: usize, call: &Call<'_>, patient: bool) -> Option<Asked> {
        let place = &self.places[place];
        let outages = place.outages.load(Ordering::SeqCst);
        let went_out = || place.outages.load(Ordering::SeqCst) != outages;
        let address = place.address.lock().unwrap().clone()?;
        let answer = call.at(&address, || !patient && went_out());
        Some(Asked { answer, went_out: went_out() })
    }

    /// The server of this user, and where to go while that one is out.
    fn from(&self, home: usize) -> impl Iterator<Item = usize> + use<> {
        let all = self.places.len();
        (0..all).map(move |further| (home + further) % all)
    }

    fn keep_reading(&self, home: usize) {
        let mut newest = vec![0; self.places.len()];
        while self.goes_on() {
            self.read_once(home, &mut newest);
            pause(READ_EVERY);
        }
    }

    fn read_once(&self, home: usize, newest: &mut [u64]) {
        let call = Call { method: "GET", path: &read(""), key: &self.key, body: "" };
        for place in self.from(home) {
            let Some(Asked { answer, went_out }) = self.ask(place, &call, false) else { continue };
            match answer {
                Ok((200, body)) => return self.has_read(place, &body, newest),
                _ if went_out => {}
                answer => return self.wrong(format!("a read at server {place}: {answer:?}")),
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
            if !self.goes_on() {
                return;
            }
            self.send_once(home, &format!("o{home}-{number}"));
            pause(SEND_EVERY);
        }
    }

    /// A message is tried elsewhere only if it was certainly not sent.
    fn send_once(&self, home: usize, openid: &str) {
        allow(&self.sandbox, openid, 1);
        let call = Call { method: "POST", path: &messages(), key: &self.key, body: &message(openid) };
        for place in self.from(home) {
            let Some(Asked { answer, went_out }) = self.ask(place, &call, true) else { continue };
            match answer {
                Ok((200, _)) => {
                    self.places[place].sent.fetch_add(1, Ordering::SeqCst);
                    return self.seen.lock().unwrap().sent.push(openid.to_owned());
                }
                Err(NoAnswer::NotSent) | Ok((503, _)) if went_out => {}
                Err(NoAnswer::MaybeSent) | Ok((504, _)) if went_out => {
                    return self.seen.lock().unwrap().unknown.push(openid.to_owned());
                }
                answer => return self.wrong(format!("a send at server {place}: {answer:?}")),
            }
        }
        self.wrong("no server is left for a send".to_owned());
    }
}

fn message(openid: &str) -> String {
    json!({
        "touser": openid, "template_id": TEMPLATE, "scene": "1", "title": "T",
        "data": { "content": { "value": "V", "color": "#000000" } },
    })
    .to_string()
}

impl Seen {
    fn nothing_is_wrong(&self) {
        assert!(self.wrong.is_empty(), "{} went wrong: {:#?}", self.wrong.len(), self.wrong);
    }

    /// Nothing went wrong: every message that was sent arrived once, those of which nobody can tell at most once.
    pub(super) fn check(&self, sandbox: &Sandbox) {
        self.nothing_is_wrong();
        let arrived = |openid: &String| sandbox.mailbox(&openid.parse().unwrap()).len();
        assert!(self.sent.iter().all(|openid| arrived(openid) == 1));
        assert!(self.unknown.iter().all(|openid| arrived(openid) <= 1));
    }
}
