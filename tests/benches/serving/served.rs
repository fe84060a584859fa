//! A control server under measurement: its configuration, its process and its metrics.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use wxsub_core::token::ApiKey;
use wxsub_server::{ApiKeyDigest, generate_api_key};

use crate::arguments::Arguments;
use crate::ask::{Answer, get, send};
use crate::folder::Folder;
use crate::load::{Load, Loaded};
use crate::process::Running;
use crate::weixin::appid;

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
    pub(crate) process: Running,
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
                "[[apps]]\nappid = \"{app}\"\nsecret_env = \"APP_SECRET\"\napi_base = \"{}\"\n",
                self.weixin
            );
        }
        text += &format!(
            "[[clients]]\nname = \"load\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
             scopes = [\"token:read\", \"token:report\", \"message:send\"]\n{}",
            ApiKeyDigest::of(&key),
            self.sections
        );
        let config = folder.write(&format!("{}.toml", self.name), &text);
        let process = Running::server(&arguments.wxsub, &["serve", "--config", &config]);
        let base = process.said.clone();
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
        self.load("access_token", None, seconds)
    }

    /// Sends this message, or reads, over 64 connections.
    pub(crate) fn load(&self, what: &str, body: Option<&str>, seconds: u64) -> Loaded {
        let url = format!("{}{}", self.base, Self::path(0, what));
        Load { url, key: self.key.expose_secret(), body, seconds }.on(&self.process)
    }

    /// The response to a read.
    pub(crate) fn token(&self, app: usize) -> Answer {
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

    /// How many tokens it has served.
    pub(crate) fn reads(&self) -> u64 {
        self.metric("wxsub_token_reads_total", "")
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
