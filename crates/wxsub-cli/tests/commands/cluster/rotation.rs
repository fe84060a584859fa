//! The encryption key of three servers is rotated, as docs/cluster.md says.

use wxsub_test_support::Redis;

use super::super::weixin::APPID;
use super::super::wxsub::file;
use super::ENCRYPTION_KEY;
use super::node::Setup;

/// After each change, the changed server fetches a token, and then one that is changed later. The others can decrypt it.
#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn rotation_of_the_encryption_key_costs_no_read_and_no_send() {
    let [old, new] = [("old", ENCRYPTION_KEY.to_owned()), ("new", "ab".repeat(32))]
        .map(|(name, key)| file(&format!("rotation-{name}.key"), &key));
    let current = |path: &str| format!("encryption_key_file = \"{path}\"\n");
    let previous = |path: &str| format!("previous_{}", current(path));
    let steps =
        [current(&old), current(&old) + &previous(&new), current(&new) + &previous(&old), current(&new)];
    let mut setup = Setup::start("rotation", Redis::start(), &steps[0]);
    let key_id = |setup: &Setup| setup.redis.ask(&format!("HGET wxsub:{{{APPID}}}:record key_id"));
    let (mut before, first_key_id) = (setup.agree(), key_id(&setup));
    for step in steps.windows(2) {
        for server in 0..3 {
            setup.change_config(server, &step[0], &step[1]);
            assert_eq!(setup.agree(), before);
            // Each side writes a record, and the other reads it.
            for writer in [server, (server + 1) % 3] {
                assert_eq!(setup.report(writer), 200);
                setup.wait_for("the next token at all servers", || setup.agree() > before);
                before = setup.agree();
            }
            setup.wait_for_messages(3);
            // Each server could decrypt each record.
            assert!(setup.nodes.iter().all(|node| !node.log().contains("token store failed")));
        }
    }
    assert_ne!(key_id(&setup), first_key_id);
    let fetches = setup.fetches();
    assert!((19..=37).contains(&fetches), "{fetches} requests: one or two after each report");
    let seen = setup.traffic.end();
    seen.check(&setup.weixin.sandbox);
    // Three at each of three servers, after each of nine changes.
    assert!(seen.reads > 0 && seen.sent.len() >= 81 && seen.unknown.is_empty(), "{} sent", seen.sent.len());
}
