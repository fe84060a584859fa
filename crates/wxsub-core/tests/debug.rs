//! What `Debug` and `Display` show: enough to tell things apart, and no secret.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use wxsub_core::Client;
use wxsub_core::clock::Moment;
use wxsub_core::consent_guard::{GuardKey, MemoryNonces};
use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::endpoint::token::TokenRequest;
use wxsub_core::store::MemoryStore;
use wxsub_core::testing::ScriptedTransport;
use wxsub_core::token::{Current, Fingerprint, Generation, Keeper};
use wxsub_core::transport::Outgoing;

#[test]
fn everything_says_what_it_is() {
    let weixin = Arc::new(ScriptedTransport::new());
    let builder = Client::builder("wx1".parse().unwrap(), "PLANTED".parse().unwrap(), weixin.clone());
    let keeper = Keeper::builder("wx1".parse().unwrap(), "PLANTED".parse().unwrap(), weixin);
    let request = TokenRequest::new("wx1".parse().unwrap(), "PLANTED".parse().unwrap());
    let outgoing = Outgoing::new(&BaseUrl::default(), request.encode()).unwrap();
    let fingerprint = Fingerprint::of(&"PLANTED".parse().unwrap());
    for (shown, expected) in [
        (format!("{builder:?}"), "ClientBuilder {"),
        (format!("{:?}", builder.build()), "Client"),
        (format!("{outgoing:?}"), "GET api.weixin.qq.com/cgi-bin/token"),
        (format!("{:?}", Current::from_issued(None, Moment::default())), "Current(None)"),
        (format!("{keeper:?}"), "KeeperBuilder {"),
        (format!("{:?}", keeper.build()), "Keeper("),
        (format!("{:?}", GuardKey::new(b"PLANTED, and a few bytes more").unwrap()), "GuardKey(***)"),
        (format!("{:?}", MemoryNonces::new()), "MemoryNonces"),
        (format!("{:?}", MemoryStore::new()), "MemoryStore(0 apps)"),
        (format!("{:?}", Generation::new(7)), "Generation(7)"),
        (Generation::new(7).to_string(), "7"),
        (format!("{fingerprint} {fingerprint:?}"), "1d29ee7bedd6 1d29ee7bedd6"),
    ] {
        assert!(shown.starts_with(expected) && !shown.contains("PLANTED"), "{shown}, not {expected}");
    }
}
