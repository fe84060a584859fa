//! The change log: each change has an entry, and a log that may have lost changes has another epoch.

use std::sync::Arc;

use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::AppId;
use wxsub_core::store::{ChangeLog, LoggedChanges, StoreErrorKind, TokenStore};
use wxsub_core::testing::store_conformance;
use wxsub_core::token::Generation;
use wxsub_redis::RedisStore;
use wxsub_test_support::Redis;

use super::store::{Stores, token};

fn app(number: u64) -> AppId {
    format!("wx{number}").parse().unwrap()
}

async fn store_token(store: &RedisStore, number: u64, generation: u64) {
    let new = token("A", generation, UnixMillis::new(1_000));
    store.compare_and_set(&app(number), Generation::new(generation - 1), new).await.unwrap();
}

async fn log(store: &RedisStore) -> LoggedChanges {
    store.read_changes(0).await.unwrap()
}

/// The apps in the log, oldest change first.
fn apps(log: &LoggedChanges) -> Vec<AppId> {
    log.changes.iter().map(|(app, _)| app.clone()).collect()
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn peers_see_each_change_with_and_without_notifications() {
    let (one, two) = (Redis::start(), Redis::start());
    let deaf = || Arc::new(two.store_with_rights("~wxsub:* &wxsub:* +@all -psubscribe"));
    tokio::join!(
        store_conformance::run_shared(|| [Arc::new(one.store()), Arc::new(one.store())]),
        store_conformance::run_shared(|| [deaf(), deaf()])
    );
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn each_change_moves_its_app_to_the_end_of_the_log() {
    let redis = Redis::start();
    let (store, at) = (redis.store(), UnixMillis::new(10));
    assert!(log(&store).await.changes.is_empty());
    store_token(&store, 1, 1).await;
    store_token(&store, 2, 1).await;
    let first = log(&store).await;
    assert_eq!(apps(&first), [app(1), app(2)]);
    store.set_in_doubt(&app(1), at).await.unwrap();
    assert_eq!(apps(&log(&store).await), [app(2), app(1)]);
    store.clear_in_doubt(&app(2), at).await.unwrap();
    assert_eq!(apps(&log(&store).await), [app(2), app(1)], "there was no marker to clear");
    store_token(&store, 2, 2).await;
    store.clear_in_doubt(&app(1), at).await.unwrap();
    let last = log(&store).await;
    assert_eq!(apps(&last), [app(2), app(1)]);
    assert_eq!(last.epoch, first.epoch);
    assert!(last.changes[0].1 > first.changes[1].1, "positions grow");
    let from = store.read_changes(last.changes[1].1).await.unwrap();
    assert_eq!(apps(&from), [app(1)], "the last position is included");
}

/// FLUSHALL, a lost log, a key of another type in its place, a restart of Redis, and an older log that was restored.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn log_that_lost_changes_shows_it() {
    let mut redis = Redis::start();
    let store = redis.store();
    let mut epochs = Vec::new();
    let commands =
        ["PING", "FLUSHALL", "DEL wxsub:changes", "SET wxsub:changes text", "CLIENT KILL TYPE pubsub"];
    for command in commands {
        redis.ask(command);
        // The first call after a broken connection may fail.
        let _ = store.load(&app(1)).await;
        for number in 1..=2 {
            store.set_in_doubt(&app(number), UnixMillis::new(10)).await.unwrap();
            store.clear_in_doubt(&app(number), UnixMillis::new(10)).await.unwrap();
        }
        epochs.push(log(&store).await.epoch);
    }
    let before = log(&store).await;
    redis.ask("ZREM wxsub:changes wx2");
    let (_, newest) = before.changes[before.changes.len() - 1];
    assert!(store.read_changes(newest).await.unwrap().changes.is_empty());
    redis.kill();
    redis.start_again();
    let _ = store.load(&app(1)).await;
    epochs.push(log(&store).await.epoch);
    let count = epochs.len();
    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), count, "{epochs:?}");
}

/// The clock of Redis was ahead, and was set back.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn positions_grow_when_the_clock_is_set_back() {
    let redis = Redis::start();
    let store = redis.store();
    store_token(&store, 1, 1).await;
    redis.ask("ZADD wxsub:changes 4000000000000000 wx2");
    store_token(&store, 1, 2).await;
    assert_eq!(log(&store).await.changes[1], (app(1), 4_000_000_000_000_001));
}

#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn log_has_one_entry_for_each_app_and_is_read_in_parts() {
    let redis = Redis::start();
    let store = redis.store();
    for generation in 1..=3 {
        store_token(&store, 1, generation).await;
    }
    redis.ask(
        "EVAL \"for n = 1, 2500 do redis.call('ZADD', KEYS[1], 3e15 + n, 'app' .. n) end\" 1 wxsub:changes",
    );
    store_token(&store, 1, 4).await;
    let (mut from, mut found, mut parts) = (0, Vec::new(), 0);
    loop {
        let part = store.read_changes(from).await.unwrap();
        from = part.changes.last().unwrap().1;
        found.extend(apps(&part));
        parts += 1;
        if !part.has_more {
            break;
        }
    }
    assert_eq!(parts, 3);
    assert_eq!(found.last().unwrap(), &app(1));
    found.dedup();
    assert_eq!(found.len(), 2501);
}

/// A user of an older version has no right to the log. The token is stored and published, and the failure is named.
#[tokio::test]
#[ignore = "needs redis-server: scripts/test runs it"]
async fn missing_right_to_the_log_is_named() {
    let redis = Redis::start();
    let older = redis.store_with_rights("~wxsub:* &wxsub:* +@all -@sortedset");
    store_token(&older, 1, 1).await;
    assert_eq!(older.load(&app(1)).await.unwrap().generation(), Generation::new(1));
    assert_eq!(older.read_changes(0).await.unwrap_err().kind(), StoreErrorKind::MissingRight);
    assert!(log(&redis.store()).await.changes.is_empty());
}
