//! The ledger of an outbox in PostgreSQL, for workers on several machines.
//!
//! ```no_run
//! use wxsub_outbox::Outbox;
//! use wxsub_postgres::{PostgresLedger, PostgresOptions};
//!
//! # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
//! let options = PostgresOptions::new("postgres://wxsub@db.example/shop").password_file("/run/secrets/ledger");
//! let outbox = Outbox::builder(PostgresLedger::connect(options).await?); // .app(…).build()
//! # let _ = outbox;
//! # Ok(()) }
//! ```
//!
//! What it promises beyond [`Ledger`](wxsub_outbox::Ledger):
//!
//! * Any number of processes use one database. Each change locks the rows that it names; due messages that another process is
//!   claiming are skipped. Unique indexes are the last guard.
//! * The clock of the database decides, so the clocks of the machines do not matter.
//! * A commit is durable when it returns, as far as the server's `fsync` and replication go.
//! * If the connection is lost before the commit, the transaction is repeated once on a new connection. If the reply to the
//!   commit is lost, its outcome is unknown, and so it is if the server ends its wait for a synchronous replica.
//! * Over a network the connection is encrypted, and the certificate of the server is verified.
//! * A replica, a connection pooler in transaction mode, a newer schema and missing rights are refused when it connects, each with
//!   what to do.

mod check;
mod columns;
mod commit;
mod connection;
mod error;
mod import;
mod inbox;
mod ledger;
mod named;
mod own_inbox;
mod schema;
mod session;
mod sql;
mod transaction;
mod write;
mod writer;

pub use connection::PostgresOptions;
pub use error::{ConnectError, ServerProblem};
pub use import::PostgresImport;
pub use inbox::{INBOX_GRANTS, PostgresInbox};
pub use ledger::PostgresLedger;

/// Compiles the code of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/postgres.md")]
struct Document;
