//! Planted secrets appear nowhere: not in logs at TRACE level, not in errors, not in `Debug`.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use tempfile::NamedTempFile;
use wxsub_core::token::{Evidence, TokenEndpoint, TokenSource};
use wxsub_core::transport::TransportLimits;
use wxsub_sandbox::{AppSettings, Fault};
use wxsub_tests::{Harness, Route, SECRET, SEND, TOKEN};

#[tokio::test]
async fn secrets_appear_in_no_log_error_or_debug_output() {
    // Everything that wxsub and its libraries log.
    let log = NamedTempFile::new().unwrap();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .init();
    let mut shown = String::new();
    let mut tokens = Vec::new();
    for route in [Route::InProcess, Route::Reqwest, Route::Hyper] {
        exercise_all_faults(route, &mut shown, &mut tokens).await;
    }
    let logged = std::fs::read_to_string(log.path()).unwrap();
    // Proof that the log is complete: it has lines of the token cache and of the HTTP library.
    assert!(
        logged.contains("access token refreshed") && logged.contains("access token invalidated externally")
    );
    assert!(logged.contains("hyper"), "the HTTP library logged nothing");
    // Durations are whole seconds, with the unit in the name.
    for name in ["lifetime_s=7200 ", "retry_in_s=", "remaining_s="] {
        assert!(logged.contains(name), "{name}");
    }
    assert!(![" lifetime=", " retry_in=", " remaining="].iter().any(|name| logged.contains(name)));
    assert!(tokens.len() >= 8);
    for (place, text) in [("log", &logged), ("errors and Debug", &shown)] {
        assert!(!text.contains(SECRET), "the AppSecret is in the {place}");
        for token in &tokens {
            assert!(!text.contains(token.as_str()), "a token is in the {place}");
        }
    }
}

/// Runs the success case and every fault. Collects errors and `Debug` output, and the tokens to look for.
async fn exercise_all_faults(route: Route, shown: &mut String, tokens: &mut Vec<String>) {
    for path in [TOKEN, SEND] {
        for fault in [
            Fault::ErrCode(wxsub_core::proto::ErrCode::INVALID_APPSECRET),
            Fault::ErrCode(wxsub_core::proto::ErrCode::INVALID_CREDENTIAL),
            Fault::Status(502),
            Fault::Status(307),
            Fault::ResetBeforeApply,
            Fault::ResetAfterApply,
            Fault::Truncate,
            Fault::Html,
            Fault::Hang,
        ] {
            let limits = TransportLimits::default().request_timeout(Duration::from_millis(300));
            let harness = Harness::with(route, TokenEndpoint::Token, AppSettings::default(), limits).await;
            harness.sandbox.add_fault(path, 3, fault);
            let message = harness.message("oUser", 1);
            let sending = tokio::spawn({
                let client = harness.client.clone();
                async move { client.send(&message).await }
            });
            if route == Route::InProcess {
                harness.advance(Duration::from_secs(60)).await;
            }
            while !sending.is_finished() {
                // Over sockets, retry delays are virtual time and the transport's timeout is real time.
                harness.clock.advance_and_run(Duration::from_millis(50)).await;
            }
            if let Err(error) = sending.await.unwrap() {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                shown.push_str(&format!("{error} {error:?} {source:?}\n"));
            }
            shown.push_str(&format!(
                "{harness:?} {:?} {:?}\n",
                harness.cache.status(),
                harness.sandbox.event_log()
            ));
            tokens.extend(
                harness.cache.current().get().map(|issued| issued.token().expose_secret().to_owned()),
            );
        }
    }
    let harness = Harness::new(route).await;
    let first = harness.cache.token().await.unwrap();
    harness.invalidate_tokens();
    harness.client.send(&harness.message("oUser", 1)).await.unwrap();
    let second = harness.cache.refresh(first.generation(), Evidence::Observed).await.unwrap();
    for issued in [first, second] {
        shown.push_str(&format!(
            "{issued:?} {:?} {:?}",
            issued.token(),
            wxsub_core::store::StoredToken::from(&*issued)
        ));
        tokens.push(issued.token().expose_secret().to_owned());
    }
}
