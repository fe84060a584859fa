//! Processes that share tokens through a real Redis.

#![cfg(test)]

mod redis {
    mod certificates;
    mod change_log;
    mod check;
    mod faults;
    mod notifications;
    mod old_layout;
    mod refusals;
    mod sentinel;
    mod slow;
    mod store;
}
