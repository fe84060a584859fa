//! Endpoints, and the deliveries to them.

use std::collections::BTreeSet;

use super::fixture::{DAY, Fixture, HOUR, MINUTE, SECOND, not_sent, refused, unknown};
use crate::audit::AuditEntry;
use crate::ledger::{Applied, Change};
use crate::message::{DEFAULT_MAX_FAILURES, Settlement};
use crate::state::{AuditAction, Decision, MessageState, WebhookEvent};
use crate::webhook::{
    DELIVERY_LEASE, DELIVERY_RETENTION, DeliveryOutcome, StoredDelivery, StoredEndpoint, WebhookPayload,
};

/// An endpoint that wants to hear of everything.
fn endpoint(name: &str) -> StoredEndpoint {
    StoredEndpoint {
        name: name.to_owned(),
        url_sha256: URL,
        apps: None,
        events: WebhookEvent::ALL.iter().copied().collect(),
        with_openid: false,
        disabled_at: None,
    }
}

/// What `endpoint` has.
const URL: [u8; 32] = [7; 32];
const GONE: DeliveryOutcome = DeliveryOutcome::Gone { url_sha256: URL };

async fn set(fixture: &Fixture, endpoints: &[StoredEndpoint]) {
    assert_eq!(fixture.apply(Change::SetEndpoints(endpoints.to_vec())).await, Applied::Done);
}

async fn claim(fixture: &Fixture, endpoint: &str) -> Vec<StoredDelivery> {
    claim_some(fixture, endpoint, URL, 100).await
}

async fn claim_some(
    fixture: &Fixture,
    endpoint: &str,
    url_sha256: [u8; 32],
    limit: usize,
) -> Vec<StoredDelivery> {
    fixture.apply_for(Change::ClaimDeliveries { endpoint: endpoint.to_owned(), url_sha256, limit }).await
}

async fn settle(
    fixture: &Fixture,
    claimed: &StoredDelivery,
    outcome: DeliveryOutcome,
) -> Option<StoredDelivery> {
    let (id, attempt) = (claimed.id.clone(), claimed.attempt);
    fixture.apply_for(Change::SettleDelivery { id, attempt, outcome }).await
}

async fn redeliver(fixture: &Fixture, endpoint: &str) -> usize {
    fixture.apply_for(redelivery(fixture, endpoint).await).await
}

/// Of all deliveries to it that failed.
async fn redelivery(fixture: &Fixture, endpoint: &str) -> Change {
    let failed = fixture.ledger.failed_deliveries(endpoint, None, 100).await.unwrap();
    let deliveries = failed.into_iter().map(|delivery| delivery.id).collect();
    Change::Redeliver { endpoint: endpoint.to_owned(), deliveries }
}

fn failed() -> DeliveryOutcome {
    DeliveryOutcome::Failed { error: "503".to_owned(), retry_after: None }
}

/// The numbers of pending deliveries and dead letters of an endpoint.
async fn counts(fixture: &Fixture, endpoint: &str) -> (u64, u64) {
    let statuses = fixture.ledger.webhook_endpoints().await.unwrap();
    let status = statuses.iter().find(|status| status.endpoint.name == endpoint).unwrap();
    (status.pending, status.dead)
}

fn payload(delivery: &StoredDelivery) -> WebhookPayload {
    serde_json::from_str(&delivery.body).unwrap()
}

/// The events of the deliveries to an endpoint.
async fn claimed_events(fixture: &Fixture, endpoint: &str) -> Vec<WebhookEvent> {
    let mut claimed = claim(fixture, endpoint).await;
    claimed.sort_by(|one, next| one.id.cmp(&next.id));
    claimed.iter().map(|delivery| delivery.event.parse().unwrap()).collect()
}

pub(super) async fn each_outcome_and_each_decision_has_one_delivery(fixture: &Fixture) {
    use WebhookEvent::{Cancelled, Decided, MaybeSent, NotSent, Refused, Sent};
    set(fixture, &[endpoint("shop")]).await;
    for (user, settlement, expected) in [
        ("a", Settlement::Sent, vec![Sent]),
        ("b", refused(43101), vec![Refused]),
        ("c", unknown(), vec![MaybeSent]),
    ] {
        let claimed = fixture.claimed(user).await;
        assert_eq!(claimed_events(fixture, "shop").await, [], "nothing has ended yet");
        fixture.settle(&claimed, settlement).await;
        assert_eq!(claimed_events(fixture, "shop").await, expected);
    }
    let requeued = fixture.claimed("d").await;
    fixture.settle(&requeued, not_sent()).await;
    assert_eq!(claimed_events(fixture, "shop").await, [], "it is tried again");
    fixture.cancel(requeued.id).await.unwrap();
    let failed = fixture.claimed("e").await;
    fixture.settle_with(&failed, not_sent(), 1).await;
    assert_eq!(claimed_events(fixture, "shop").await, [Cancelled, NotSent]);
    let undecided = fixture.maybe_sent("f").await;
    fixture.decide_later(undecided.id, Decision::SendAgain).await;
    fixture.settle(&undecided, Settlement::Sent).await.unwrap();
    let about_it = claim(fixture, "shop").await.into_iter().filter(|one| one.id.message == undecided.id);
    let mut about_it: Vec<_> = about_it.collect();
    about_it.sort_by_key(|delivery| delivery.id.sequence);
    let events: Vec<_> = about_it.iter().map(|delivery| payload(delivery).event).collect();
    assert_eq!(events, [MaybeSent, Decided], "an answer after the decision tells nothing");
    let data = payload(&about_it[1]).data;
    assert_eq!((data.decision, data.outcome), (Some(Decision::SendAgain), MessageState::MaybeSent));
    let children = fixture.all().await.into_iter().filter(|one| one.parent_id == Some(undecided.id));
    assert_eq!(data.child_id, children.map(|child| child.id).next());
}

pub(super) async fn a_delivery_says_what_its_endpoint_may_know(fixture: &Fixture) {
    set(fixture, &[endpoint("plain"), StoredEndpoint { with_openid: true, ..endpoint("users") }]).await;
    let message = fixture.with_key("order-1", fixture.new_message("o"));
    let id = fixture.record(message).await.unwrap().message().id;
    let claimed = fixture.claim_one(id).await;
    let settled = fixture.settle(&claimed, refused(43101)).await.unwrap();
    let (plain, users) = (claim(fixture, "plain").await.remove(0), claim(fixture, "users").await.remove(0));
    assert_eq!(plain.id.webhook_id(), users.id.webhook_id());
    let notified = payload(&users);
    assert_eq!((notified.event, notified.timestamp), (WebhookEvent::Refused, fixture.now()));
    assert_eq!((notified.data.id, notified.data.sequence, notified.data.attempt), (id, settled.version, 1));
    assert_eq!(notified.data.errcode.map(wxsub_proto::ErrCode::get), Some(43101));
    assert_eq!(notified.data.idempotency_key.unwrap().as_str(), "order-1");
    assert_eq!(notified.data.openid, "o".parse().ok());
    assert_eq!(payload(&plain).data.openid, None);
    assert!(!plain.body.contains("Text"), "never the content: {}", plain.body);
}

pub(super) async fn an_endpoint_hears_of_its_apps_and_events_only(fixture: &Fixture) {
    let other = BTreeSet::from(["wx9".parse().unwrap()]);
    let own = BTreeSet::from([fixture.appid.clone(), "wx9".parse().unwrap()]);
    let refusals = BTreeSet::from([WebhookEvent::Refused]);
    set(
        fixture,
        &[
            StoredEndpoint { apps: Some(other), ..endpoint("other") },
            StoredEndpoint { apps: Some(own), ..endpoint("own") },
            StoredEndpoint { events: refusals, ..endpoint("refusals") },
        ],
    )
    .await;
    fixture.sent("o").await;
    for (endpoint, expected) in [("other", 0), ("own", 1), ("refusals", 0), ("unknown", 0)] {
        assert_eq!(claim(fixture, endpoint).await.len(), expected, "{endpoint}");
    }
    set(fixture, &[endpoint("refusals")]).await;
    fixture.sent("p").await;
    assert_eq!(claim(fixture, "own").await, [], "it was removed");
    assert_eq!(claim(fixture, "refusals").await.len(), 1, "it was changed");
}

/// A failed change leaves no delivery, and the others of its commit do.
pub(super) async fn a_delivery_is_recorded_with_its_event_or_not_at_all(fixture: &Fixture) {
    set(fixture, &[endpoint("shop")]).await;
    let claimed = fixture.claimed("o").await;
    let settle = |settlement| Change::Settle {
        message: claimed.id,
        worker: claimed.worker.unwrap(),
        attempt: claimed.attempt,
        settlement,
        max_failures: DEFAULT_MAX_FAILURES,
    };
    // A policy cannot send again: this change fails.
    let failing = Change::ApplyPolicy(fixture.appid.clone(), Decision::SendAgain, 1);
    let changes = vec![settle(Settlement::Sent), failing, settle(refused(43101))];
    let results = fixture.ledger.commit(changes).await.unwrap();
    assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok(), "{results:?}");
    assert_eq!(claimed_events(fixture, "shop").await, [WebhookEvent::Sent]);
}

pub(super) async fn a_claimed_delivery_is_claimed_again_after_its_lease(fixture: &Fixture) {
    set(fixture, &[endpoint("shop")]).await;
    for user in ["a", "b", "c"] {
        fixture.sent(user).await;
    }
    let first = claim_some(fixture, "shop", URL, 2).await;
    let rest = claim(fixture, "shop").await;
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert!(claim(fixture, "shop").await.is_empty());
    settle(fixture, &rest[0], DeliveryOutcome::Delivered).await;
    assert_eq!(counts(fixture, "shop").await, (2, 0));
    fixture.pass(DELIVERY_LEASE - SECOND).await;
    assert!(claim(fixture, "shop").await.is_empty());
    fixture.pass(SECOND).await;
    let due_since = async || fixture.ledger.webhook_endpoints().await.unwrap()[0].due_since;
    assert_eq!(due_since().await, first[0].due_at);
    let again = claim(fixture, "shop").await;
    assert_eq!(again.iter().map(|delivery| delivery.attempt).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(due_since().await, None);
    // A late failure of the first attempt says nothing about the second.
    let late = settle(fixture, &first[0], failed()).await.unwrap();
    assert_eq!((late.attempt, late.error), (2, None));
    // A late success counts.
    assert_eq!(settle(fixture, &first[0], DeliveryOutcome::Delivered).await, None);
    assert_eq!(counts(fixture, "shop").await, (1, 0));
}

pub(super) async fn a_delivery_that_fails_ten_times_is_a_dead_letter(fixture: &Fixture) {
    set(fixture, &[endpoint("shop")]).await;
    fixture.sent("o").await;
    let first = claim(fixture, "shop").await.remove(0);
    let retry_after = Some(HOUR);
    let waits =
        settle(fixture, &first, DeliveryOutcome::Failed { error: "429".to_owned(), retry_after }).await;
    assert_eq!(waits.unwrap().due_at, Some(fixture.now() + HOUR));
    fixture.pass(HOUR).await;
    for attempt in 2..=10 {
        let claimed = claim(fixture, "shop").await.remove(0);
        assert_eq!((claimed.attempt, &claimed.error), (attempt, &None));
        assert_eq!(claimed.body, first.body);
        settle(fixture, &claimed, failed()).await.unwrap();
        fixture.pass(DAY + DAY / 5).await;
    }
    assert_eq!(counts(fixture, "shop").await, (0, 1));
    assert!(claim(fixture, "shop").await.is_empty());
    let dead = fixture.ledger.failed_deliveries("shop", None, 10).await.unwrap().remove(0);
    assert_eq!((dead.attempt, dead.due_at, dead.error.as_deref()), (10, None, Some("503")));
    assert_eq!(redeliver(fixture, "shop").await, 1);
    assert_eq!(fixture.ledger.failed_deliveries("shop", None, 10).await.unwrap(), []);
    let again = claim(fixture, "shop").await.remove(0);
    assert_eq!((again.attempt, again.id), (1, first.id));
}

/// An attempt under way is not made twice.
pub(super) async fn redelivery_hastens_what_waits_and_not_what_is_under_way(fixture: &Fixture) {
    set(fixture, &[endpoint("shop")]).await;
    for user in ["a", "b"] {
        fixture.sent(user).await;
    }
    let both = claim(fixture, "shop").await;
    settle(fixture, &both[0], failed()).await;
    assert_eq!(redeliver(fixture, "shop").await, 1);
    let due = claim(fixture, "shop").await;
    assert_eq!(due.iter().map(|delivery| &delivery.id).collect::<Vec<_>>(), [&both[0].id]);
    assert_eq!(redeliver(fixture, "unknown").await, 0);
    // The same for an operator.
    settle(fixture, &due[0], failed()).await;
    let entry = AuditEntry {
        actor: "ops".to_owned(),
        address: String::new(),
        action: AuditAction::Redeliver,
        appid: None,
        subject: "shop".to_owned(),
        detail: String::new(),
    };
    let change = redelivery(fixture, "shop").await;
    let audited = Change::Audited(Box::new(entry.clone()), Some(Box::new(change)));
    assert_eq!(fixture.apply(audited).await, Applied::Count(1));
    assert_eq!(fixture.ledger.audit(None, 10).await.unwrap().remove(0).entry, entry);
    assert_eq!(claim(fixture, "shop").await.len(), 1);
}

pub(super) async fn an_endpoint_that_is_gone_gets_nothing_until_it_is_enabled(fixture: &Fixture) {
    set(fixture, &[endpoint("shop"), endpoint("other")]).await;
    fixture.sent("a").await;
    let claimed = claim(fixture, "shop").await.remove(0);
    let held = settle(fixture, &claimed, GONE).await.unwrap();
    assert!(held.error.unwrap().starts_with("410"));
    let disabled_at = Some(fixture.now());
    fixture.pass(MINUTE).await;
    // Its deliveries are still recorded, and nothing is lost.
    fixture.sent("b").await;
    assert!(claim(fixture, "shop").await.is_empty());
    assert_eq!(claim(fixture, "other").await.len(), 2, "the others go on");
    // The same configuration does not enable it.
    set(fixture, &[endpoint("shop"), endpoint("other")]).await;
    let statuses = fixture.ledger.webhook_endpoints().await.unwrap();
    let names: Vec<_> = statuses.iter().map(|status| status.endpoint.name.as_str()).collect();
    assert_eq!(names, ["other", "shop"]);
    assert_eq!((statuses[1].endpoint.disabled_at, statuses[1].pending), (disabled_at, 2));
    assert_eq!(redeliver(fixture, "shop").await, 1);
    assert_eq!(claim(fixture, "shop").await.len(), 2);
    // Another URL does.
    for delivery in fixture.ledger.webhook_endpoints().await.unwrap() {
        assert_eq!(delivery.endpoint.disabled_at, None);
    }
    settle(fixture, &claimed, GONE).await;
    set(fixture, &[StoredEndpoint { url_sha256: [8; 32], ..endpoint("shop") }]).await;
    assert_eq!(fixture.ledger.webhook_endpoints().await.unwrap()[0].endpoint.disabled_at, None);
}

/// A server that was not reloaded yet neither claims for the old URL nor disables the new one.
pub(super) async fn a_410_of_the_old_url_does_not_disable_the_new_one(fixture: &Fixture) {
    set(fixture, &[endpoint("shop")]).await;
    fixture.sent("a").await;
    let claimed = claim(fixture, "shop").await.remove(0);
    let moved = StoredEndpoint { url_sha256: [8; 32], ..endpoint("shop") };
    set(fixture, std::slice::from_ref(&moved)).await;
    settle(fixture, &claimed, GONE).await.unwrap();
    assert_eq!(fixture.ledger.webhook_endpoints().await.unwrap()[0].endpoint, moved);
    assert!(claim(fixture, "shop").await.is_empty(), "that is the old URL");
    assert_eq!(claim_some(fixture, "shop", moved.url_sha256, 9).await.len(), 1);
}

pub(super) async fn deliveries_are_deleted_when_they_are_old(fixture: &Fixture) {
    set(fixture, &[endpoint("shop")]).await;
    fixture.sent("o").await;
    fixture.pass(DELIVERY_RETENTION - SECOND).await;
    assert_eq!(fixture.prune(10).await.deliveries, 0);
    fixture.pass(SECOND).await;
    assert_eq!(fixture.prune(10).await.deliveries, 1);
    assert_eq!(counts(fixture, "shop").await, (0, 0));
}

pub(super) async fn a_delivery_does_not_wait_for_a_clock_that_was_ahead(fixture: &Fixture) {
    set(fixture, &[endpoint("shop")]).await;
    fixture.clock.advance(400 * DAY);
    fixture.sent("a").await;
    fixture.clock.set_back(400 * DAY);
    assert_eq!(claim(fixture, "shop").await, []);
    assert_eq!(fixture.apply(Change::Reschedule(9)).await, Applied::Count(1));
    let claimed = claim(fixture, "shop").await.remove(0);
    let outcome = DeliveryOutcome::Failed { error: "503".to_owned(), retry_after: Some(DAY) };
    settle(fixture, &claimed, outcome).await;
    assert_eq!(fixture.apply(Change::Reschedule(9)).await, Applied::Count(0), "the endpoint asked for it");
}
