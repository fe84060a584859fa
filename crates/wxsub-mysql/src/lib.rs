//! The inbox of an outbox in MySQL and MariaDB: an application records a message in the transaction of its own change.
//!
//! The application inserts rows into its table `wxsub_inbox`, which [`MYSQL_TABLE`](wxsub_outbox::inbox::MYSQL_TABLE) makes.
//! An [`InboxCopier`](wxsub_outbox::inbox::InboxCopier) with a [`MysqlInbox`] copies committed rows to the ledger and deletes
//! them. A ledger is never in MySQL.
//!
//! ```no_run
//! # async fn example(outbox: wxsub_outbox::Outbox) -> Result<(), Box<dyn std::error::Error>> {
//! use wxsub_mysql::{MysqlInbox, MysqlOptions};
//! use wxsub_outbox::inbox::InboxCopier;
//!
//! let options = MysqlOptions::new("mysql://wxsub@db.example/shop")?.password_file("/run/secrets/db");
//! let inbox = MysqlInbox::connect(options).await?;
//! InboxCopier::new(&outbox, inbox).run(std::future::pending()).await;
//! # Ok(()) }
//! ```
//!
//! Its user needs the rights of [`GRANTS`] and no others. It needs MariaDB 10.6 or MySQL 8.0 at least, and a table of InnoDB.
//!
//! The connection is encrypted, and the server's certificate is checked, unless the server is on this machine. `mysql_async`
//! then makes ring the crypto provider of the process if the program has not chosen one.

mod connection;
mod error;
mod inbox;
mod options;

pub use inbox::{GRANTS, MysqlInbox};
pub use options::{InvalidUrl, MysqlOptions};
