//! The ledger of an outbox in one SQLite file, for one process that writes.
//!
//! ```no_run
//! use wxsub_outbox::Outbox;
//! use wxsub_sqlite::{SqliteLedger, SqliteOptions};
//!
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! let ledger = SqliteLedger::open("wxsub.db", SqliteOptions::new()).await?;
//! let outbox = Outbox::builder(ledger); // .app(…).build()
//! # let _ = outbox;
//! # Ok(()) }
//! ```
//!
//! What it promises beyond [`Ledger`](wxsub_outbox::Ledger):
//!
//! * A commit is on the disk when it returns: SQLite's write-ahead log with `synchronous=FULL`. One thread writes:
//!   one batch of changes after the other.
//! * One process writes. It holds the lock file `FILE.lock`; another one is refused, with the name of
//!   the holder. The process that takes the lock ends the attempts of the one before: they become `maybe_sent`. Readers
//!   need no lock.
//! * A file on a network, of a newer version, of another program, a damaged one and a backup are refused.
//! * If the disk is full, the whole change is undone and fails. If a commit fails for another reason, its outcome is
//!   unknown.
//!
//! `docs/outbox.md` describes the tables, for people who read them with SQL.

mod backup;
mod columns;
mod connection;
mod error;
mod file_system;
mod ledger;
mod lock;
mod move_out;
mod readers;
mod rows;
mod schema;
mod sql;
mod tables;
mod writer;

pub use connection::SqliteOptions;
pub use error::{OpenError, OpenErrorKind};
pub use ledger::SqliteLedger;
pub use move_out::SqliteMove;

/// Compiles the code of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/outbox.md")]
struct Document;
