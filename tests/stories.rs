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

mod stories {
    mod consent_to_mailbox;
    mod lost_answers;
    mod refresh_ahead;
    mod six_hundred;
    mod strangers;
    mod worst_faults;
}
