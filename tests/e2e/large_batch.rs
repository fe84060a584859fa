//! Six hundred messages, sixty-four at a time, on an empty token cache with a slow token endpoint. Halfway, another fetch
//! invalidates the token.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use wxsub_sandbox::Fault;
use wxsub_tests::{Harness, Route, TOKEN};

on_every_route!(batch_with_one_invalidation_costs_two_token_requests);

async fn batch_with_one_invalidation_costs_two_token_requests(route: Route) {
    let harness = Harness::new(route).await;
    harness.sandbox.add_fault(TOKEN, 2, Fault::Delay(Duration::from_millis(50)));
    let messages: Vec<_> = (0..600).map(|n| (n, harness.message(&format!("oUser{n}"), 7))).collect();

    let sending = async {
        let mut results = harness.client.send_all(stream::iter(messages), NonZeroUsize::new(64).unwrap());
        let mut sent = 0;
        while let Some((number, result)) = results.next().await {
            result.unwrap();
            assert_eq!(number, sent);
            sent += 1;
            if sent == 300 {
                harness.invalidate_tokens();
            }
        }
        sent
    };
    // In process, the delay of the endpoint is virtual time.
    let (sent, ()) = tokio::join!(sending, harness.advance(Duration::from_secs(1)));
    assert_eq!(sent, 600);
    for n in 0..600 {
        assert_eq!(harness.received_count(&format!("oUser{n}")), 1);
    }
    assert_eq!(harness.request_count(TOKEN), 2);
}
