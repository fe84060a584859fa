//! The alerts and the dashboard of `docs/operating` know the metrics, and the metrics them.

use std::collections::BTreeSet;

use super::setup::{World, message, usual};

const ALERTS: &str = include_str!("../../../../docs/operating/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../../../docs/operating/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../../../docs/operating/dashboard.json");

/// Every metric that is named there.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("wxsub_")).collect()
}

/// What is exported once everything has happened that is counted.
async fn exported() -> String {
    let world = World::new(&usual()).await;
    let token = world.token().await.access_token();
    world.report(&token).await;
    world.pass(400).await;
    world.steal();
    world.send(message("oUser", 1)).await;
    world.ask("GET", "/metrics", None, "").await.text
}

#[tokio::test]
async fn whatever_is_watched_is_exported() {
    let metrics = exported().await;
    let exported = |name: &str| {
        metrics.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
    };
    for (file, text) in [("alerts", ALERTS), ("alerts.test", ALERTS_TEST), ("dashboard", DASHBOARD)] {
        let watched = named(text);
        assert!(watched.len() > 7, "{watched:?}");
        for name in watched {
            assert!(exported(name), "{file} watches {name}, which is not exported:\n{metrics}");
        }
    }
}

#[tokio::test]
async fn whatever_is_exported_is_on_the_dashboard() {
    let metrics = exported().await;
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for family in families {
        assert!(DASHBOARD.contains(family), "{family} is not on the dashboard");
    }
}

/// A counter that appears with its first increase hides it from `increase()`.
#[tokio::test]
async fn what_ought_never_to_happen_begins_at_0() {
    let world = World::new(&usual()).await;
    let metrics = world.ask("GET", "/metrics", None, "").await.text;
    for line in [
        "wxsub_token_external_invalidations_total{appid=\"wx1\"} 0",
        "wxsub_token_reports_total{appid=\"wx1\",result=\"rate_limited\"} 0",
        "wxsub_sends_total{appid=\"wx1\",outcome=\"maybe_sent\"} 0",
        "wxsub_audit_dropped_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
