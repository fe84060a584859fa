//! `Debug` and `Display` identify values, and show no secret.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use wxsub_core::Client;
use wxsub_core::clock::ClockReading;
use wxsub_core::consent::{InMemoryNonceStore, SigningKey};
use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::endpoint::token::TokenRequest;
use wxsub_core::store::MemoryStore;
use wxsub_core::testing::MockTransport;
use wxsub_core::token::{CurrentToken, Fingerprint, Generation, TokenCache};
use wxsub_core::transport::HttpRequest;

#[test]
fn debug_and_display_identify_values_without_secrets() {
    let weixin = MockTransport::new();
    let builder = Client::builder("wx1", "PLANTED", weixin.clone());
    let cache = TokenCache::builder("wx1", "PLANTED", weixin);
    let request = TokenRequest::new("wx1".parse().unwrap(), "PLANTED".parse().unwrap());
    let outgoing = HttpRequest::new(&BaseUrl::default(), request.encode()).unwrap();
    let fingerprint = Fingerprint::of(&"PLANTED".parse().unwrap());
    for (shown, expected) in [
        (format!("{builder:?}"), "ClientBuilder("),
        (format!("{:?}", builder.build().unwrap()), "Client"),
        (format!("{outgoing:?}"), "GET api.weixin.qq.com/cgi-bin/token"),
        (format!("{:?}", CurrentToken::new(None, ClockReading::default())), "CurrentToken(None)"),
        (format!("{cache:?}"), "TokenCacheBuilder("),
        (format!("{:?}", cache.build().unwrap()), "TokenCache("),
        (
            format!("{:?}", SigningKey::new(b"PLANTED, and as many bytes as a key has").unwrap()),
            "SigningKey(***)",
        ),
        (format!("{:?}", InMemoryNonceStore::new()), "InMemoryNonceStore"),
        (format!("{:?}", MemoryStore::new()), "MemoryStore(0 apps)"),
        (format!("{:?}", Generation::new(7)), "Generation(7)"),
        (Generation::new(7).to_string(), "7"),
        (format!("{fingerprint} {fingerprint:?}"), "1d29ee7bedd6 1d29ee7bedd6"),
    ] {
        assert!(shown.starts_with(expected) && !shown.contains("PLANTED"), "{shown}, not {expected}");
    }
}
