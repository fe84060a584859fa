//! Somebody else who has the AppSecret and fetches tokens for the app.

use std::time::Duration;

use super::super::weixin::{APPID, SECRET};
use super::call::Call;
use super::server::Redis;
use super::setup::Stage;

/// How it went.
pub(super) struct Minutes {
    /// How often our servers asked Weixin for a token.
    pub(super) fetches: u64,
    /// How often they said that somebody else ended it.
    pub(super) named: usize,
    /// How often they counted that.
    pub(super) counted: u64,
}

/// Fetches as anybody may who has the AppSecret.
fn fetch(stage: &Stage) {
    let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APPID}&secret={SECRET}");
    let call = Call { method: "GET", path: &path, key: "", body: "" };
    let (_, body) = call.at(stage.weixin.base.strip_prefix("http://").unwrap(), || false).unwrap();
    assert!(body.contains("access_token"), "{body}");
}

/// A stranger fetches once a minute, for so many minutes; with every fetch the token before it lives on for `overlap`.
///
/// The minutes pass at Weixin, not at the servers, for whom a stranger is somebody who ends tokens before their time. What
/// goes by a server's clock, and has to be kept in mind here, is its ration: five tokens that die at once are within it.
pub(super) fn fetches_once_a_minute(minutes: u64, overlap: Duration) -> Minutes {
    let stage = Stage::start("stranger", Redis::start(), "");
    let (sandbox, appid) = (&stage.weixin.sandbox, APPID.parse().unwrap());
    let mut settings = sandbox.settings(&appid).unwrap();
    settings.overlap = overlap;
    sandbox.configure(&appid, settings).unwrap();
    stage.agree();
    for _ in 0..minutes {
        fetch(&stage);
        stage.wait_for_messages(3);
        stage.agree();
        sandbox.advance(Duration::from_secs(60));
    }
    let counted = stage.metric(&format!("wxsub_token_external_invalidations_total{{appid=\"{APPID}\"}}"));
    let says = |log: String| log.matches("somebody else is fetching tokens for this app").count();
    let named = stage.nodes.iter().map(|node| says(node.log())).sum();
    let fetches = stage.fetches() - minutes;
    stage.traffic.end().check(&stage.weixin.sandbox);
    Minutes { fetches, named, counted }
}
