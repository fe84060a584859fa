//! Endpoints of webhooks that several servers write.

use std::cell::Cell;

use wxsub_outbox::Ledger;
use wxsub_outbox::audit::AuditEntry;
use wxsub_outbox::ledger::{Applied, Change};
use wxsub_outbox::message::Settlement;
use wxsub_outbox::state::{AuditAction, WebhookEvent};
use wxsub_outbox::webhook::{DeliveryOutcome, StoredDelivery, StoredEndpoint};
use wxsub_test_support::Postgres;

use super::fixture::Process;

fn endpoint(name: &str) -> StoredEndpoint {
    StoredEndpoint {
        name: name.to_owned(),
        url_sha256: [7; 32],
        apps: None,
        events: WebhookEvent::ALL.iter().copied().collect(),
        with_openid: false,
        disabled_at: None,
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn an_endpoint_added_while_another_one_is_disabled_stays() {
    let postgres = Postgres::start();
    let (one, two) = (Process::start(&postgres).await, Process::start(&postgres).await);
    let (sql, blocking) = (postgres.sql().await, postgres.sql().await);
    assert_eq!(one.apply(Change::SetEndpoints(vec![endpoint("old")])).await.unwrap(), Applied::Done);
    one.enqueue(one.message("o")).await.unwrap();
    let message = one.claimed(1).await.remove(0);
    one.apply(Process::settle(&message, Settlement::Sent)).await.unwrap();
    let claim = Change::ClaimDeliveries { endpoint: "old".to_owned(), url_sha256: [7; 32], limit: 1 };
    let delivery = one.apply_for::<Vec<StoredDelivery>>(claim).await.remove(0);

    // The first process has read the endpoints, and waits with its writes. The second one adds an endpoint meanwhile.
    blocking.batch_execute("BEGIN; LOCK TABLE wxsub_audit IN SHARE MODE").await.unwrap();
    let waiting = async || {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wxsub' AND wait_event_type = 'Lock'";
        sql.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
    };
    let outcome = DeliveryOutcome::Gone { url_sha256: [7; 32] };
    let settle = Change::SettleDelivery { id: delivery.id, attempt: delivery.attempt, outcome };
    let entry = AuditEntry {
        actor: "ops".to_owned(),
        address: String::new(),
        action: AuditAction::Reveal,
        appid: None,
        subject: String::new(),
        detail: String::new(),
    };
    let is_set = Cell::new(false);
    let (settled, (), ()) = tokio::join!(
        one.apply(Change::Audited(Box::new(entry), Some(Box::new(settle)))),
        async {
            while waiting().await < 1 {}
            two.apply(Change::SetEndpoints(vec![endpoint("new"), endpoint("old")])).await.unwrap();
            is_set.set(true);
        },
        async {
            while !is_set.get() && waiting().await < 2 {}
            blocking.batch_execute("ROLLBACK").await.unwrap();
        },
    );
    settled.unwrap();
    let statuses = one.ledger.webhook_endpoints().await.unwrap();
    let names: Vec<_> = statuses.iter().map(|status| status.endpoint.name.as_str()).collect();
    assert_eq!(names, ["new", "old"]);
    assert_eq!(statuses[0].endpoint.disabled_at, None);
    assert!(statuses[1].endpoint.disabled_at.is_some(), "it responded with 410");
}
