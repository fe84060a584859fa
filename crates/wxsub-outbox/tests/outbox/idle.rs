//! The calls of an idle worker to its ledger.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::Client;
use wxsub_core::clock::Clock;
use wxsub_core::testing::ManualClock;
use wxsub_outbox::state::MessageState;
use wxsub_outbox::{App, MaybeSentPolicy, Outbox, OutboxMessage};

use super::harness::{Calls, Harness, MINUTE, SECOND, SEND, message, weixin};

/// A worker with so many apps, which has begun.
async fn with_apps(apps: usize) -> Harness {
    let (clock, weixin) = (Arc::new(ManualClock::new()), weixin());
    let app = |number| {
        let appid = format!("wx{number}");
        let client = Client::builder(appid.as_str(), "SECRET", weixin.clone()).clock(clock.clone());
        App::new(appid.parse().unwrap(), client.build().unwrap()).maybe_sent(MaybeSentPolicy::AssumeSent)
    };
    let apps: Vec<_> = (0..apps).map(app).collect();
    let harness = Harness::with_apps(apps, Duration::from_millis(500), clock, weixin);
    harness.run();
    harness.clock.advance_and_run(MINUTE).await;
    harness
}

impl Harness {
    fn app(&self, number: usize) -> Outbox {
        self.outbox.for_app(&format!("wx{number}").parse().unwrap()).unwrap()
    }

    /// The calls to the ledger within a minute.
    async fn minute(&self) -> Calls {
        let before = self.calls();
        self.clock.advance_and_run(MINUTE).await;
        let after = self.calls();
        Calls {
            reads: after.reads - before.reads,
            commits: after.commits - before.commits,
            changes: after.changes - before.changes,
        }
    }
}

#[tokio::test]
async fn idle_apps_cost_nothing() {
    let one = with_apps(1).await.minute().await;
    let thousand = with_apps(1_000).await.minute().await;
    assert_eq!(thousand, one);
    // In each interval it asks once, and waits for a notification; with each of twelve heartbeats it asks for messages that
    // its policies decide.
    assert_eq!(one.reads, 2 * 120 + 12);
    assert_eq!(one.commits, 24, "a heartbeat and a sweep every 5 s");
}

#[tokio::test]
async fn an_app_that_waits_costs_no_claim() {
    let harness = with_apps(3).await;
    let idle = harness.minute().await;
    harness.app(0).pause("ops", "night").await.unwrap();
    harness.app(0).enqueue(OutboxMessage::new(message("paused"))).await.unwrap();
    let in_an_hour = harness.clock.now().wall + 60 * MINUTE;
    harness.app(1).enqueue(OutboxMessage::new(message("later")).send_at(in_an_hour)).await.unwrap();
    harness.clock.advance_and_run(SECOND).await;
    assert_eq!(harness.minute().await, idle);
    assert_eq!(harness.weixin.count(SEND), 0);
    harness.clock.advance_and_run(59 * MINUTE).await;
    harness.app(0).resume().await.unwrap();
    harness.clock.advance_and_run(SECOND).await;
    assert_eq!(harness.weixin.count(SEND), 2);
}

/// The clock stands still.
#[tokio::test]
async fn a_message_of_this_harness_waits_for_no_poll() {
    let harness = with_apps(3).await;
    let queued = harness.app(1).enqueue(OutboxMessage::new(message("a"))).await.unwrap();
    assert_eq!(harness.outbox.wait(queued.id()).await.unwrap().state, MessageState::Sent);
}
