//! The check names what is wrong with Redis before a server needs it.

use wxsub_core::proto::Remedy;
use wxsub_core::store::StoreErrorKind;
use wxsub_test_support::Redis;

use super::faults::rule;
use super::store::Stores;

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn rights_of_the_guide_pass_the_check() {
    let redis = Redis::start();
    redis.store().check().await.unwrap();
    assert!(redis.ask(&rule("OPEN")).starts_with("+OK"));
    redis.store_of("wxsub").check().await.unwrap();
    assert!(redis.ask("KEYS *").starts_with("*0"), "the check leaves nothing behind");
}

/// Each right of the guide is taken away in turn.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn each_missing_right_is_named() {
    let redis = Redis::start();
    for (right, named) in [
        ("+@hash", "HSET, HGET, HGETALL, HDEL"),
        ("+@string", "SET, GET"),
        ("+@sortedset", "ZADD, ZRANGE, ZRANGEBYSCORE"),
        ("+@scripting", "NOPERM"),
        ("+time", "TIME"),
        ("+pttl", "PTTL"),
        ("+del", "DEL"),
        ("+expire", "EXPIRE"),
        ("+publish", "PUBLISH"),
        ("+psubscribe", "PSUBSCRIBE"),
        ("&wxsub:*", "PUBLISH, PSUBSCRIBE"),
        ("~wxsub:*", "NOPERM"),
    ] {
        let rule = rule("OPEN");
        assert!(rule.contains(right), "{rule}");
        redis.ask("ACL DELUSER wxsub");
        let reply = redis.ask(&rule.replace(&format!(" {right}"), ""));
        assert!(reply.starts_with("+OK"), "{reply}");
        let error = redis.store_of("wxsub").check().await.unwrap_err();
        let found = (error.kind(), error.remedy());
        assert_eq!(found, (StoreErrorKind::MissingRight, Remedy::FixConfig), "{right}: {error}");
        let text = error.to_string();
        assert!(text.contains(named) && !text.contains("OPEN"), "{right}: {text}");
    }
}

/// Also if one node has all slots, so that each command works today.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn cluster_is_named_whatever_its_node_has() {
    let node = Redis::with(&["--cluster-enabled", "yes"]);
    let kind = async || node.store().check().await.unwrap_err().kind();
    assert_eq!(kind().await, StoreErrorKind::Cluster, "a node without slots");
    assert!(node.ask("CLUSTER ADDSLOTSRANGE 0 16383").starts_with("+OK"));
    assert_eq!(kind().await, StoreErrorKind::Cluster, "a node with all slots");
}
