//! Rolling upgrade: records as the version before the fields `key_id` and `upstream` wrote them, and the fields that it needs.

use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::store::{CasOutcome, StoredToken, TokenStore, UpstreamId};
use wxsub_core::token::Generation;
use wxsub_test_support::Redis;

use super::store::{Stores, app, token};

/// What that version wrote for `wx0123456789abcdef`, with this key: twice 32 of the digits `ab`.
const SEALED: &str = "version 1 generation 1795957147143 requested_at_ms 1795957147143 age_ms 2 \
    stored_at_ms 1795957147150 lifetime_ms 7200000 token_encrypted \
    GmtCIJZWBuANmd/3SG34WY4/PrF+4r02M7vXDBHqNYyU5o5r86n0Wc03FGn8/b7/ino26pQSzSWhBwU7ar369j0CQHh4am3CBsGjlKZZo7pPbpEU4JMnl2\
    RMrCQWG37GLbBZbV6jrKvyyaS5Cj1WabeNRpeK1WoF50yLwNaMXOYag0j8Ji/i6Qmue9fZrJ45sJZjVxgGKLy0prFF65wE+92cSr4=";

/// The fields without which that version cannot read a record.
const NEEDED: [&str; 7] =
    ["version", "generation", "token", "requested_at_ms", "stored_at_ms", "age_ms", "lifetime_ms"];

/// Writes as that version does. It leaves fields that it does not know.
fn write_as_before(redis: &Redis, fields: &str) {
    redis.ask("HDEL wxsub:{wx1}:record token token_encrypted in_doubt_since_ms");
    assert!(redis.ask(&format!("HSET wxsub:{{wx1}}:record {fields}")).starts_with(':'));
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn servers_of_both_versions_read_the_same_record() {
    let (redis, now) = (Redis::start(), SystemClock::new().now().wall);
    let (store, upstream) = (redis.store(), UpstreamId::parse("0123456789abcdef"));
    let fields = |generation: u64, text: &str| {
        let now = now.get();
        format!(
            "version 1 generation {generation} token {text} requested_at_ms {now} age_ms 27 stored_at_ms {now} \
             lifetime_ms 7200000"
        )
    };
    let held = async || {
        let StoredToken { token, generation, upstream, .. } =
            store.load(&app()).await.unwrap().token.unwrap();
        (token.expose_secret().to_owned(), generation.get(), upstream)
    };
    write_as_before(&redis, &fields(5, "BEFORE"));
    assert_eq!(held().await, ("BEFORE".to_owned(), 5, None));
    let new = token("NOW", 6, now).with_upstream(upstream);
    let stored = store.compare_and_set(&app(), Generation::new(5), new).await.unwrap();
    assert!(matches!(stored, CasOutcome::Stored), "{stored:?}");
    for field in NEEDED {
        let value = redis.ask(&format!("HGET wxsub:{{wx1}}:record {field}"));
        assert!(value.starts_with('$') && !value.starts_with("$-1"), "{field}: {value}");
    }
    assert!(redis.ask("HGET wxsub:{wx1}:record version").contains("$1\r\n1\r\n"));
    write_as_before(&redis, &fields(7, "BEFORE-AGAIN"));
    assert_eq!(held().await, ("BEFORE-AGAIN".to_owned(), 7, upstream));
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn token_encrypted_by_the_version_before_is_decrypted() {
    let (redis, app) = (Redis::start(), "wx0123456789abcdef".parse().unwrap());
    redis.ask(&format!("HSET wxsub:{{wx0123456789abcdef}}:record {SEALED}"));
    let store = redis.builder().encryption_key("ab".repeat(32).parse().unwrap()).build().unwrap();
    let stored = store.load(&app).await.unwrap().token.unwrap();
    assert_eq!((stored.generation.get(), stored.token.expose_secret().len()), (1_795_957_147_143, 136));
}
