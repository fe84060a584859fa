//! Three servers that share their tokens through one Redis.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::folder::Folder;
use crate::redis::Redis;
use crate::served::{Served, Setup};
use crate::weixin::{TWO_HOURS, Weixin};

/// The longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts servers that share a Redis.
pub(crate) struct Cluster<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) folder: &'a Folder,
    pub(crate) name: String,
    pub(crate) apps: usize,
    pub(crate) weixin: Weixin,
    /// Several clusters can share a Redis, each with its prefix.
    redis: String,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(
        arguments: &'a Arguments,
        folder: &'a Folder,
        redis: &Redis,
        name: String,
        apps: usize,
    ) -> Self {
        let redis = format!("[store]\nredis = \"{}\"\nprefix = \"{name}\"\n", redis.address());
        Self { arguments, folder, name, apps, weixin: Weixin::with(apps, TWO_HOURS), redis }
    }

    /// Starts one more server, without waiting for tokens.
    pub(crate) fn start(&self) -> Served {
        let (top, sections) = ("audit = \"off\"".to_owned(), self.redis.clone());
        let setup = Setup { name: &self.name, weixin: &self.weixin.base, apps: self.apps, top, sections };
        setup.start(self.arguments, self.folder)
    }

    /// Starts three servers and waits until each has all tokens.
    pub(crate) fn three(&self) -> [Served; 3] {
        let servers = [self.start(), self.start(), self.start()];
        for app in 0..self.apps {
            let first = servers[0].generation(app);
            wait(|| servers.iter().all(|server| server.generation(app) == first));
        }
        servers
    }
}

/// Waits for a condition. Returns how long it took.
pub(crate) fn wait(mut so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "it never happened");
        sleep(Duration::from_millis(5));
    }
    began.elapsed()
}
