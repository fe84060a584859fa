//! Deliveries that an operator has made again.

use std::sync::atomic::{AtomicUsize, Ordering};

use wxsub_outbox::id::IdGenerator;
use wxsub_outbox::idempotency::Fingerprint;
use wxsub_outbox::ledger::{
    Change, FromApplied, InvalidLine, InvalidMessage, KeyKind, LedgerLayer, NewKey, Results,
};
use wxsub_outbox::state::WebhookEvent;
use wxsub_outbox::webhook::{DeliveryOutcome, StoredDelivery, StoredEndpoint};
use wxsub_outbox::{Ledger, LedgerError, LedgerResult, MemoryLedger, Outbox};

const URL: [u8; 32] = [7; 32];
const ENDPOINT: &str = "shop";

/// How many deliveries one transaction makes due, and one more.
const DELIVERIES: usize = 1_001;

/// A ledger with an endpoint that refuses each delivery as soon as it is due.
#[derive(Debug, Default)]
struct Refusing {
    ledger: MemoryLedger,
    redeliveries: AtomicUsize,
}

impl Refusing {
    /// Each of these has one delivery, which has failed.
    async fn with_failed_deliveries() -> Self {
        let refusing = Self::default();
        let endpoint = StoredEndpoint {
            name: ENDPOINT.to_owned(),
            url_sha256: URL,
            apps: None,
            events: [WebhookEvent::NotSent].into(),
            with_openid: false,
            disabled_at: None,
        };
        let ids = IdGenerator::new(Some(1));
        let invalid = |number: usize| InvalidMessage {
            id: ids.message(wxsub_core::clock::UnixMillis::new(1)).unwrap(),
            appid: "wx1".parse().unwrap(),
            line: InvalidLine { problems: "touser: is missing".to_owned(), ..InvalidLine::default() },
            key: NewKey {
                client: "batch:b".to_owned(),
                key: number.to_string().parse().unwrap(),
                fingerprint: Fingerprint::of_bytes(b"line"),
                kind: KeyKind::Batch,
            },
        };
        let messages = (0..DELIVERIES).map(|number| Change::RecordInvalid(Box::new(invalid(number))));
        let changes = [Change::SetEndpoints(vec![endpoint])].into_iter().chain(messages).collect();
        refusing.ledger.commit(changes).await.unwrap();
        refusing.refuse().await;
        refusing
    }

    async fn refuse(&self) {
        let claim =
            Change::ClaimDeliveries { endpoint: ENDPOINT.to_owned(), url_sha256: URL, limit: usize::MAX };
        let claimed = self.ledger.commit(vec![claim]).await.unwrap().remove(0).unwrap();
        let refused = |StoredDelivery { id, attempt, .. }| {
            let outcome = DeliveryOutcome::Failed { error: "503".to_owned(), retry_after: None };
            Change::SettleDelivery { id, attempt, outcome }
        };
        let refused = Vec::from_applied(claimed).unwrap().into_iter().map(refused).collect();
        self.ledger.commit(refused).await.unwrap();
    }
}

impl LedgerLayer for Refusing {
    async fn ledger(&self) -> LedgerResult<&dyn Ledger> {
        Ok(&self.ledger)
    }

    async fn commit_through(&self, changes: Vec<Change>) -> LedgerResult<Results> {
        if self.redeliveries.fetch_add(1, Ordering::Relaxed) > 4 {
            return Err(LedgerError::Unavailable("there is no end".to_owned()));
        }
        let results = self.ledger.commit(changes).await;
        self.refuse().await;
        results
    }
}

#[tokio::test]
async fn a_redelivery_ends_though_its_deliveries_fail_again_at_once() {
    let outbox = Outbox::builder(Refusing::with_failed_deliveries().await).build();
    assert_eq!(outbox.redeliver(ENDPOINT).await, Ok(DELIVERIES));
}
