//! A server with another upstream that uses the same Redis and prefix by mistake. It must leave the record of the cluster alone.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use wxsub_core::token::{TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, TransportError, TransportErrorKind};

use super::invariants::Invariants;
use super::network::App;
use super::server::READ_INTERVAL;
use super::store_link::StoreLink;

/// It starts when the cluster has stored a token.
const START: Duration = Duration::from_secs(60);

/// Runs it until the end. Its upstream is unreachable, so that it never has a token of its own.
pub(super) async fn run(app: App, invariants: Arc<Invariants>, end: Duration, mut rng: Rng) {
    let Invariants { clock, redis, .. } = &*invariants;
    let (watched, appid) = (Arc::clone(&invariants), app.appid.clone());
    let on_lease = move |_| {
        if watched.redis.has_valid_token(&appid) {
            watched.oracle.report_violation("a server with another upstream takes the lease");
        }
    };
    let store = StoreLink::new(clock, redis, Vec::new(), on_lease, rng.fork());
    clock.wait_until(START).await;
    let unreachable = |_: HttpRequest| async {
        Err(TransportError::before_sending(TransportErrorKind::Connect, "connection refused"))
    };
    let cache = TokenCache::builder(app.appid, app.secret, unreachable)
        .api_base("https://staging.example".parse().unwrap())
        .clock(clock.clone())
        .endpoint(app.endpoint)
        .store(store)
        .jitter_seed(rng.u64(..))
        .build()
        .unwrap();
    while clock.elapsed() < end {
        let _ = cache.token().await;
        if cache.current().get().is_some() {
            let violation = "a server with another upstream holds the token of the cluster";
            invariants.oracle.report_violation(violation);
        }
        clock.sleep(READ_INTERVAL).await;
    }
}
