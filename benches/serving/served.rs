//! A control server under measurement: its configuration, its process, its metrics, and the sandbox that it calls.

use std::fs;
use std::future::pending;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wxsub_benches::{Arguments, subject};
use wxsub_core::proto::AppId;
use wxsub_hyper::ApiKey;
use wxsub_sandbox::{AppSettings, Sandbox, http};
use wxsub_server::{ApiKeyDigest, generate_api_key};
use wxsub_test_support::Process;

use crate::process::{self, JSON, Load, Loaded};

pub(crate) use wxsub_core::proto::endpoint::token::PATH as TOKEN;

/// The longest time until all apps of a server have tokens.
const START: Duration = Duration::from_secs(60);

/// The configuration.
pub(crate) struct Setup<'a> {
    /// A name that no other running server has.
    pub(crate) name: &'a str,
    pub(crate) weixin: &'a str,
    pub(crate) apps: usize,
    /// More top-level lines.
    pub(crate) top: String,
    /// More sections.
    pub(crate) sections: String,
}

/// A running server.
pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) base: String,
    key: ApiKey,
}

impl Setup<'_> {
    /// Starts it without waiting for tokens.
    pub(crate) fn start(&self, arguments: &Arguments, folder: &Folder) -> Served {
        let key = generate_api_key().unwrap();
        let mut text = format!("listen = \"127.0.0.1:0\"\n{}\n", self.top);
        for app in (0..self.apps).map(appid) {
            text += &format!(
                "[[apps]]\nappid = \"{app}\"\nsecret_env = \"APP_SECRET\"\ntoken_endpoint = \"token\"\n\
                     api_base = \"{}\"\n",
                self.weixin
            );
        }
        text += &format!(
            "[[clients]]\nname = \"load\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
             scopes = [\"token:read\", \"token:report\", \"message:send\", \"outbox:write\"]\n{}\n\
             [limits]\nrequests_per_key = 1000000\n",
            ApiKeyDigest::of(&key),
            self.sections
        );
        let config = folder.write(&format!("{}.toml", self.name), &text);
        let process = process::server(
            arguments.wxsub.as_deref().expect("--wxsub PATH"),
            &["serve", "--config", &config],
        );
        let base = process.ready.clone();
        Served { process, base, key }
    }

    /// Starts it and waits until every app has a token.
    pub(crate) fn ready(&self, arguments: &Arguments, folder: &Folder) -> Served {
        let server = self.start(arguments, folder);
        let began = Instant::now();
        while server.holding() < self.apps {
            assert!(began.elapsed() < START, "{} does not get its tokens", self.name);
            sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Served {
    /// The path under an app.
    pub(crate) fn path(app: usize, more: &str) -> String {
        format!("/v1/apps/{}/{more}", appid(app))
    }

    /// Reads the token of the first app over 64 connections.
    pub(crate) fn read(&self, seconds: u64) -> Loaded {
        self.load("access_token", None, JSON, seconds)
    }

    /// Posts this JSON over 64 connections.
    pub(crate) fn post(&self, what: &str, body: &str, seconds: u64) -> Loaded {
        self.load(what, Some(body), JSON, seconds)
    }

    /// Posts this body, or reads, over 64 connections.
    pub(crate) fn load(&self, what: &str, body: Option<&str>, content_type: &str, seconds: u64) -> Loaded {
        let url = format!("{}{}", self.base, Self::path(0, what));
        Load { url, key: self.key.expose_secret(), body, content_type, seconds }.on(&self.process)
    }

    /// The response to a read.
    pub(crate) fn token(&self, app: usize) -> Response {
        get(&self.base, &Self::path(app, "access_token"), self.key.expose_secret())
    }

    /// The generation of its current token.
    pub(crate) fn generation(&self, app: usize) -> u64 {
        self.token(app).member("generation").as_u64().unwrap()
    }

    /// Reports its token as invalid. The response comes later.
    pub(crate) fn report(&self, app: usize) -> TcpStream {
        let token = self.token(app).member("access_token");
        let body = serde_json::json!({ "access_token": token }).to_string();
        send(&self.base, "POST", &Self::path(app, "access_token/report"), self.key.expose_secret(), &body)
    }

    /// How many tokens it has fetched.
    pub(crate) fn fetched(&self) -> u64 {
        self.metric("wxsub_token_fetches_total", "result=\"issued\"")
    }

    /// How many apps have a token.
    pub(crate) fn holding(&self) -> usize {
        self.metrics("wxsub_token_generation{", "").iter().filter(|generation| **generation > 0).count()
    }

    /// The sum of a metric over all series with these labels.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        self.metrics(name, labels).iter().sum()
    }

    fn metrics(&self, name: &str, labels: &str) -> Vec<u64> {
        let text = get(&self.base, "/metrics", "").body;
        let values = text.lines().filter_map(|line| {
            let (found, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            found.contains(labels).then(|| value.parse().unwrap())
        });
        values.collect()
    }
}

/// A folder for configurations, tokens and audits. It is deleted at the end.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// A new file in the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// The lifetime of a token.
pub(crate) const TWO_HOURS: Duration = Duration::from_secs(7200);

/// A running sandbox. It ends when this is dropped.
pub(crate) struct Weixin {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    _runtime: Runtime,
}

/// The AppID of this number.
pub(crate) fn appid(number: usize) -> AppId {
    format!("wx{number:016x}").parse().unwrap()
}

impl Weixin {
    /// Starts a sandbox with this many apps and this token lifetime.
    pub(crate) fn with(apps: usize, lifetime: Duration) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = Sandbox::new();
        for app in (0..apps).map(appid) {
            sandbox.add_app(app.clone(), subject::secret(), []);
            let mut settings = AppSettings::default();
            settings.token_lifetime = lifetime;
            sandbox.configure(&app, settings).unwrap();
        }
        runtime.spawn(http::serve(listener, sandbox.clone(), pending()));
        Self { sandbox, base, _runtime: runtime }
    }

    /// How many token requests have arrived.
    pub(crate) fn fetches(&self) -> u64 {
        self.sandbox.event_log().request_count(TOKEN)
    }
}

/// Status, head and body of a response.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// A member of its JSON body.
    pub(crate) fn member(&self, name: &str) -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body[name].clone()
    }
}

pub(crate) fn get(base: &str, path: &str, key: &str) -> Response {
    read_response(send(base, "GET", path, key, ""))
}

/// Sends a request and waits for the response.
pub(crate) fn read_response(mut stream: TcpStream) -> Response {
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

/// Sends a request. The caller reads the response.
pub(crate) fn send(base: &str, method: &str, path: &str, key: &str, body: &str) -> TcpStream {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}
