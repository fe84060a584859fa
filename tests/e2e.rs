//! End-to-end tests across crates, each over every route between client and sandbox.

#![cfg(test)]

/// Makes one test per route from each scenario.
macro_rules! on_every_route {
    ($($scenario:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test] async fn $scenario() { super::$scenario(wxsub_tests::Route::InProcess).await })+
        }
        mod over_hyper {
            $(#[tokio::test] async fn $scenario() { super::$scenario(wxsub_tests::Route::Hyper).await })+
        }
        mod over_reqwest {
            $(#[tokio::test] async fn $scenario() { super::$scenario(wxsub_tests::Route::Reqwest).await })+
        }
    };
}

mod e2e {
    mod consent_to_mailbox;
    mod external_fetches;
    mod large_batch;
    mod lost_responses;
    mod worst_faults;
}
