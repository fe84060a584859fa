//! Another process with the AppSecret that fetches tokens for the app.

use std::time::Duration;

use super::super::weixin::{APPID, SECRET};
use super::call::Call;
use super::server::Redis;
use super::setup::Setup;

/// The counts of a run.
pub(super) struct FetchCounts {
    /// Token requests of our servers.
    pub(super) fetches: u64,
    /// Log lines about external invalidation.
    pub(super) named: usize,
    /// External invalidations in the metrics.
    pub(super) counted: u64,
}

/// Fetches a token with the AppSecret.
fn fetch(setup: &Setup) {
    let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APPID}&secret={SECRET}");
    let call = Call { method: "GET", path: &path, key: "", body: "" };
    let (_, body) = call.at(setup.weixin.base.strip_prefix("http://").unwrap(), || false).unwrap();
    assert!(body.contains("access_token"), "{body}");
}

/// Fetches once a minute, for this many minutes. Each previous token stays valid for `overlap`.
///
/// The minutes pass at the sandbox, not at the servers. The rate limit of reports uses the clock of the servers, so only
/// five tokens may become invalid at once.
pub(super) fn fetch_every_minute(minutes: u64, overlap: Duration) -> FetchCounts {
    let setup = Setup::start("external-fetcher", Redis::start(), "");
    let (sandbox, appid) = (&setup.weixin.sandbox, APPID.parse().unwrap());
    let mut settings = sandbox.settings(&appid).unwrap();
    settings.overlap = overlap;
    sandbox.configure(&appid, settings).unwrap();
    setup.agree();
    for _ in 0..minutes {
        fetch(&setup);
        setup.wait_for_messages(3);
        setup.agree();
        sandbox.advance(Duration::from_secs(60));
    }
    let counted = setup.metric(&format!("wxsub_token_external_invalidations_total{{appid=\"{APPID}\"}}"));
    let says = |log: String| log.matches("access token invalidated externally").count();
    let named = setup.nodes.iter().map(|node| says(node.log())).sum();
    let fetches = setup.fetches() - minutes;
    setup.traffic.end().check(&setup.weixin.sandbox);
    FetchCounts { fetches, named, counted }
}
