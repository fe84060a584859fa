//! Six hundred messages, sixty-four at a time, on a cold keeper with a slow token endpoint; and half-way a stranger ends
//! the token.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use wxsub_sandbox::Fault;
use wxsub_tests::{Route, Stage, TOKEN, app};

stories!(six_hundred_messages_cost_two_token_requests);

async fn six_hundred_messages_cost_two_token_requests(route: Route) {
    let stage = Stage::new(route).await;
    stage.sandbox.add_fault(TOKEN, 2, Fault::Delay(Duration::from_millis(50)));
    let messages: Vec<_> = (0..600).map(|n| stage.message(&format!("oUser{n}"), 7)).collect();

    let sending = async {
        let mut results = stage.client.send_many(stream::iter(messages), NonZeroUsize::new(64).unwrap());
        let mut sent = 0;
        while let Some((message, result)) = results.next().await {
            result.unwrap();
            assert_eq!(message.grant().openid().as_str(), format!("oUser{sent}"));
            sent += 1;
            if sent == 300 {
                stage.sandbox.invalidate_tokens(&app()).unwrap();
            }
        }
        sent
    };
    // In process the slow endpoint waits for the clock.
    let (sent, ()) = tokio::join!(sending, stage.pass(Duration::from_secs(1)));
    assert_eq!(sent, 600);
    for n in 0..600 {
        assert_eq!(stage.received(&format!("oUser{n}")), 1);
    }
    assert_eq!(stage.seen(TOKEN), 2);
}
