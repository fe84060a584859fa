//! A rolling upgrade of three servers from a version with the older layout of the record, and back.

use std::env::var;
use wxsub_test_support::Redis;

use super::super::weixin::APPID;
use super::super::wxsub::file;
use super::ENCRYPTION_KEY;
use super::node::{Setup, THIS_VERSION};

/// The path of a binary that does not know the fields `key_id` and `upstream` of the record.
#[expect(clippy::disallowed_methods, reason = "the script that builds it says where it is")]
fn older_version() -> String {
    var("WXSUB_OLDER").expect("the path of an older binary; run scripts/rolling-upgrade, which builds one")
}

/// After each change of a version, the token is invalidated, and servers of both versions get the next one from whichever fetches it.
#[test]
#[ignore = "needs redis-server and an older binary: scripts/rolling-upgrade runs it"]
fn rolling_upgrade_and_downgrade_cost_no_read_and_no_send() {
    let (older, key) = (older_version(), file("rolling-upgrade.key", ENCRYPTION_KEY));
    let store = format!("encryption_key_file = \"{key}\"\n");
    let mut setup = Setup::start_version(&older, "rolling-upgrade", Redis::start(), &store, 3);
    let mut before = setup.agree();
    let has_new_fields = |setup: &Setup| {
        let record = setup.redis.ask(&format!("HGETALL wxsub:{{{APPID}}}:record"));
        ["key_id", "upstream"].map(|field| record.contains(&format!("\r\n{field}\r\n")))
    };
    assert_eq!(has_new_fields(&setup), [false; 2], "name a version without key_id and upstream");
    for (binary, knows_new_fields) in [(THIS_VERSION, true), (older.as_str(), false)] {
        for server in 0..3 {
            setup.change_version(server, binary);
            assert_eq!(setup.agree(), before, "a new version uses the stored token");
            setup.invalidate_tokens();
            setup.wait_for("the next token at all servers", || setup.agree() > before);
            before = setup.agree();
            setup.wait_for_messages(5);
        }
        if knows_new_fields {
            assert_eq!(has_new_fields(&setup), [true; 2]);
        }
    }
    let fetches = setup.fetches();
    eprintln!("{fetches} requests for a token");
    assert!(
        (7..=13).contains(&fetches),
        "{fetches} requests: one at the start, and one or two after each invalidation"
    );
    let seen = setup.traffic.end();
    seen.check(&setup.weixin.sandbox);
    eprintln!("{} reads, {} messages sent, {} maybe sent", seen.reads, seen.sent.len(), seen.unknown.len());
    // Five at each of three servers, after each of six changes.
    assert!(seen.reads > 0 && seen.sent.len() >= 90 && seen.unknown.is_empty());
}
