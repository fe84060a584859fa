//! The attacks. Each opens connections from an address of its own, and holds them or repeats a request on each.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::served::SILENT_APP;

/// Maximum time to open the connections of an attack.
const MAX_OPENING: Duration = Duration::from_secs(60);

/// From how many connections on an attack is a flood.
const MIN_FLOOD: usize = 3000;

/// For how long a flood opens connections.
const FLOOD: Duration = Duration::from_secs(3);

/// Connections with the same bytes on each.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// The address of the attacker. Honest requests come from 127.0.0.1.
    from: &'static str,
    connections: usize,
    behavior: Behavior,
    /// What is sent on each connection. Gets the attacker's key.
    bytes: fn(&str) -> String,
    /// How many apps the server has besides those of honest client and attacker.
    pub(crate) more_apps: usize,
    /// Counters of `/metrics` that show what was refused, each with the minimum that it must have.
    pub(crate) counted: &'static [(&'static str, MinCount)],
}

/// The server that is attacked.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The key of the attacker.
    pub(crate) key: String,
}

/// The minimum of a counter.
pub(crate) enum MinCount {
    Count(u64),
    /// Each response to a repeated request.
    Responses,
}

/// What an attack does on its connections.
enum Behavior {
    /// Sends the bytes once and holds the connection.
    Hold,
    /// Sends the bytes again after each response.
    Repeat,
    /// Sends the beginning of a TLS handshake, waits for the server's part of it, and connects again.
    Handshake,
}

use Behavior::{Handshake, Hold, Repeat};
use MinCount::{Count, Responses};

const OF_ADDRESS: &str = "wxsub_limit_reached_total{limit=\"connections_per_address\"}";
const BODIES: &str = "wxsub_limit_reached_total{limit=\"bodies_per_key\"}";
const KEYLESS: &str = "wxsub_limit_reached_total{limit=\"keyless_bodies\"}";
const HANDSHAKES: &str = "wxsub_limit_reached_total{limit=\"handshakes_per_address\"}";
const IN_FLIGHT: &str = "wxsub_limit_reached_total{limit=\"in_flight_per_key\"}";
const OF_KEY: &str = "wxsub_limit_reached_total{limit=\"requests_per_key\"}";
const KEYLESS_REQUESTS: &str = "wxsub_limit_reached_total{limit=\"keyless_requests\"}";
const UNKNOWN_KEYS: &str = "wxsub_denials_total{api=\"v1\",reason=\"unknown_key\"}";
const UNKNOWN_TOKENS: &str = "wxsub_denials_total{api=\"weixin\",reason=\"unknown_token\"}";

/// An attack of 5000 idle connections.
const BASE: Attack = Attack {
    name: "5000 idle connections from one address",
    from: "127.0.0.2",
    connections: 5000,
    behavior: Hold,
    bytes: |_| String::new(),
    more_apps: 0,
    counted: &[(OF_ADDRESS, Count(5000 - 1024))],
};

/// An attack that repeats a request on 64 connections.
const fn repeat_on_64(
    name: &'static str,
    bytes: fn(&str) -> String,
    counted: &'static [(&'static str, MinCount)],
) -> Attack {
    Attack { name, connections: 64, behavior: Repeat, bytes, counted, ..BASE }
}

/// The counts are those of the default limits: 1024 connections of an address, 512 bodies and requests in flight of a key,
/// 256 bodies without a key.
pub(crate) static ATTACKS: [Attack; 16] = [
    BASE,
    Attack { name: "5000 idle connections from the address of the honest client", from: "127.0.0.1", ..BASE },
    Attack { name: "5000 half-sent heads", bytes: |_| "GET / HTTP/1.1\r\nX: ".to_owned(), ..BASE },
    Attack {
        name: "5000 half-sent heads of 30 KB",
        bytes: |_| format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(30_000)),
        ..BASE
    },
    Attack {
        name: "1030 half-sent bodies with one key",
        connections: 1030,
        bytes: |key| post("/v1/apps/wx1/messages", key, 60_000, &"x".repeat(30_000)),
        counted: &[(BODIES, Count(1024 - 512))],
        ..BASE
    },
    Attack {
        name: "3500 large slow bodies without a key",
        connections: 3500,
        bytes: |_| post("/cgi-bin/stable_token", "none", 60_000, &"x".repeat(30_000)),
        // Each is refused at once, as too large.
        counted: &[],
        ..BASE
    },
    Attack {
        name: "3500 small slow bodies without a key",
        connections: 3500,
        bytes: |_| post("/cgi-bin/stable_token", "none", 4000, "{"),
        counted: &[(KEYLESS, Count(1024 - 256))],
        ..BASE
    },
    Attack {
        name: "1030 messages with one key to a silent Weixin",
        connections: 1030,
        bytes: |key| post(&format!("/v1/apps/{SILENT_APP}/messages"), key, MESSAGE.len(), MESSAGE),
        counted: &[(IN_FLIGHT, Count(1024 - 512))],
        ..BASE
    },
    Attack {
        name: "messages with one key to a silent Weixin, again and again on 1000 connections",
        connections: 1000,
        behavior: Repeat,
        bytes: |key| post(&format!("/v1/apps/{SILENT_APP}/messages"), key, MESSAGE.len(), MESSAGE),
        counted: &[(IN_FLIGHT, Count(1000 - 512))],
        ..BASE
    },
    Attack {
        name: "TLS handshakes without end on 64 connections",
        connections: 64,
        behavior: Handshake,
        counted: &[(HANDSHAKES, Count(1))],
        ..BASE
    },
    repeat_on_64(
        "token reads of one key without a pause on 64 connections",
        |key| get("/v1/apps/wx1/access_token", key),
        &[(OF_KEY, Count(1))],
    ),
    repeat_on_64(
        "requests without a route on 64 connections",
        |_| get("/none", ""),
        &[(KEYLESS_REQUESTS, Count(1))],
    ),
    repeat_on_64(
        "unknown keys on 64 connections",
        |_| get("/v1/apps/wx1/access_token", UNKNOWN_KEY),
        &[(UNKNOWN_KEYS, Responses)],
    ),
    Attack {
        more_apps: 500,
        ..repeat_on_64(
            "unknown access_tokens on 64 connections, 500 apps",
            |_| {
                let token = "x".repeat(512);
                post(
                    &format!("/cgi-bin/message/template/subscribe?access_token={token}"),
                    "",
                    MESSAGE.len(),
                    MESSAGE,
                )
            },
            &[(UNKNOWN_TOKENS, Responses)],
        )
    },
    Attack {
        more_apps: 500,
        ..repeat_on_64("/metrics on 64 connections, 500 apps", |_| get("/metrics", ""), &[])
    },
    Attack {
        more_apps: 500,
        ..repeat_on_64("/readyz on 64 connections, 500 apps", |_| get("/readyz", ""), &[])
    },
];

pub(crate) const MESSAGE: &str = r#"{"touser":"oUser","template_id":"T","scene":"1","title":"Parcel","data":{"content":{"value":"It is here."}}}"#;

/// A key that no client has.
const UNKNOWN_KEY: &str = "0123456789012345678901234567890123456789012";

pub(crate) fn post(path: &str, key: &str, length: usize, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n")
}

impl Attack {
    /// Whether the server has TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        matches!(self.behavior, Handshake)
    }

    /// Whether the attack ends with a flood.
    pub(crate) fn is_flood(&self) -> bool {
        self.connections >= MIN_FLOOD
    }

    /// Opens the connections and sends the bytes on each. Those that the server has accepted after [`MAX_OPENING`] are the attack.
    pub(crate) async fn open(&self, target: &Target) -> VecDeque<TcpStream> {
        let mut held = VecDeque::new();
        let opening = async {
            while held.len() < self.connections {
                self.open_one(target, &mut held).await;
            }
        };
        let _ = timeout(MAX_OPENING, opening).await;
        held
    }

    /// Opens connections for [`FLOOD`], as fast as it can, and closes the oldest one for each.
    pub(crate) async fn flood(&self, held: &mut VecDeque<TcpStream>, target: &Target) {
        let begun = Instant::now();
        while begun.elapsed() < FLOOD {
            if held.len() >= self.connections {
                held.pop_front();
            }
            self.open_one(target, held).await;
        }
    }

    async fn open_one(&self, target: &Target, held: &mut VecDeque<TcpStream>) {
        match self.connect(target).await {
            Ok(mut stream) => {
                let _ = stream.write_all((self.bytes)(&target.key).as_bytes()).await;
                held.push_back(stream);
            }
            // It may have failed without a wait.
            Err(_) => yield_now().await,
        }
    }

    /// Goes on for `duration` on these connections. The server may close them meanwhile. Returns the number of responses to repeated
    /// requests.
    pub(crate) async fn go_on(
        &self,
        held: &mut VecDeque<TcpStream>,
        target: &Target,
        duration: Duration,
    ) -> usize {
        let bytes = (self.bytes)(&target.key);
        let responses = AtomicUsize::new(0);
        match self.behavior {
            Hold => sleep(duration).await,
            Handshake => {
                let hello = client_hello(target.address);
                let begun = join_all(held.iter().map(|_| self.begin_handshakes(target, &hello, &responses)));
                let _ = timeout(duration, begun).await;
            }
            Repeat => {
                let repeated = join_all(held.iter_mut().map(|stream| repeat(stream, &bytes, &responses)));
                let _ = timeout(duration, repeated).await;
            }
        }
        responses.into_inner()
    }

    /// Begins one handshake after the other, each on a connection of its own.
    async fn begin_handshakes(&self, target: &Target, hello: &[u8], responses: &AtomicUsize) {
        loop {
            let Ok(mut stream) = self.connect(target).await else { continue };
            if stream.write_all(hello).await.is_ok() && stream.read_u8().await.is_ok() {
                responses.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn connect(&self, target: &Target) -> io::Result<TcpStream> {
        let from: IpAddr = self.from.parse().unwrap();
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        // Its port is free again as soon as it is closed.
        socket.set_zero_linger()?;
        socket.connect(target.address).await
    }
}

/// The first message of a TLS handshake. The server responds to it as often as it gets it.
fn client_hello(address: SocketAddr) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::from(address.ip())).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Reads a response and sends the request again, until the server closes the connection.
async fn repeat(stream: &mut TcpStream, bytes: &str, responses: &AtomicUsize) {
    let mut stream = BufReader::new(stream);
    while read_response(&mut stream).await.is_some() {
        responses.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(bytes.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads a response to its end.
async fn read_response(stream: &mut BufReader<&mut TcpStream>) -> Option<()> {
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.trim_end().parse().ok()?;
        }
    }
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(())
}
