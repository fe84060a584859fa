//! The alerts and the dashboard of `docs/operating` match the exported metrics.

use std::collections::BTreeSet;

use super::setup::{Setup, message, usual};

const ALERTS: &str = include_str!("../../../../docs/operating/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../../../docs/operating/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../../../docs/operating/dashboard.json");

/// All metrics in the text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("wxsub_")).collect()
}

/// The exported metrics after all counted events.
async fn exported() -> String {
    let setup = Setup::new(&usual()).await;
    let token = setup.token().await.access_token();
    setup.report(&token).await;
    setup.pass(400).await;
    setup.steal();
    setup.send(message("oUser", 1)).await;
    setup.ask("GET", "/metrics", None, "").await.text
}

#[tokio::test]
async fn alerts_and_dashboard_use_exported_metrics() {
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
async fn dashboard_has_every_exported_metric() {
    let metrics = exported().await;
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for family in families {
        assert!(DASHBOARD.contains(family), "{family} is not on the dashboard");
    }
}

/// `increase()` misses the first event of a counter that does not exist before it.
#[tokio::test]
async fn rare_counters_start_at_0() {
    let setup = Setup::new(&usual()).await;
    let metrics = setup.ask("GET", "/metrics", None, "").await.text;
    for line in [
        "wxsub_token_external_invalidations_total{appid=\"wx1\"} 0",
        "wxsub_token_reports_total{appid=\"wx1\",result=\"rate_limited\"} 0",
        "wxsub_sends_total{appid=\"wx1\",outcome=\"maybe_sent\"} 0",
        "wxsub_audit_dropped_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
