//! Stories across crates, each over every route between client and sandbox.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

/// Plays each story over every route, as a test of its own.
macro_rules! stories {
    ($($story:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test] async fn $story() { super::$story(wxsub_tests::Route::InProcess).await })+
        }
        mod over_hyper {
            $(#[tokio::test] async fn $story() { super::$story(wxsub_tests::Route::Hyper).await })+
        }
        mod over_reqwest {
            $(#[tokio::test] async fn $story() { super::$story(wxsub_tests::Route::Reqwest).await })+
        }
    };
}

mod e2e {
    mod consent_to_mailbox;
    mod external_fetches;
    mod large_batch;
    mod lost_responses;
    mod refresh_ahead;
    mod worst_faults;
}
