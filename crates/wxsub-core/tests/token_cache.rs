//! Token caches around their refresh state, in virtual time: one process, faults, and a store that several share.

#![cfg(test)]

mod token_cache {
    mod faults;
    mod harness;
    mod leases;
    mod one_process;
    mod shared_store;
}
