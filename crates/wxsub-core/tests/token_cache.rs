//! Token caches around their refresh state, in virtual time: one process, faults, and a store that several share.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod token_cache {
    mod faults;
    mod harness;
    mod leases;
    mod one_process;
    mod shared_store;
}
