//! Grants and durable messages: one consent allows at most one message, and no acknowledged message is lost.
//!
//! The ledger is the database that holds them. A message is recorded before it is posted, and ends in exactly one final
//! state. An attempt whose outcome is unknown becomes `maybe_sent` and is never repeated automatically: Weixin has no
//! idempotency key and no status query.
//!
//! [`Outbox`] is where to begin.
//!
//! | module | what is in it |
//! |---|---|
//! | [`message`] | the row of a message, and its transitions as pure functions |
//! | [`grant`] | the row of a grant, and the rules by which messages use grants |
//! | [`app`] | why an app waits |
//! | [`audit`] | what operators did |
//! | [`evidence`] | what a person who decides a message must know |
//! | [`idempotency`] | keys: the same request twice is one message |
//! | [`retention`] | how long rows are kept |
//! | [`id`] | the ids of messages, grants and workers |
//! | [`inbox`] | the table by which an application records messages in its own transaction |
//! | [`state`] | the states and the other names that are stored |
//! | [`webhook`] | which endpoints are notified of messages |
//! | [`view`] | messages, grants and apps as JSON |
//! | [`ledger`] | the [`Ledger`] trait, what a change does to its rows, and a ledger in memory |
//! | `testing` | with the feature of that name: the conformance suites that every ledger and every inbox must pass |

pub mod app;
pub mod audit;
pub mod evidence;
pub mod grant;
pub mod id;
pub mod idempotency;
pub mod inbox;
pub mod ledger;
pub mod message;
mod outbox;
pub mod retention;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;
pub mod view;
pub mod webhook;
mod worker;

pub use ledger::{Ledger, LedgerError, LedgerResult, MemoryLedger};
pub use outbox::{
    App, Batch, CommitEvent, Gate, InvalidLine, LedgerFailure, MaybeSentPolicy, MissedOutcomes, Outbox,
    OutboxBuilder, OutboxError, OutboxMessage, Outcomes, Receipt,
};
