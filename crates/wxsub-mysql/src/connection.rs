//! A session with the limits of the copier, and what is checked when it begins.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_outbox::inbox::{CHECKS, InboxError};

use crate::error::{inbox_error, refused};
use crate::options::MysqlOptions;

/// Sessions end what the server would wait for without end. Under READ COMMITTED no gaps between rows are locked, so that
/// inserts of the application never wait for the copier.
const SETTINGS: [&str; 5] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 10",
    "SET SESSION lock_wait_timeout = 10",
    "SET SESSION wait_timeout = 120",
    // A statement may take 30 s. MariaDB and MySQL call that differently, and each reads the other's name as a comment.
    "SET SESSION autocommit = 1 /*M!100108 , max_statement_time = 30 */ /*!80000 , max_execution_time = 30000 */",
];

const ENGINE: &str = "SELECT engine FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name = 'wxsub_inbox'";

/// Maximum time until a connection can copy. A server may accept a connection and not respond.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a connection that can copy.
pub(crate) async fn open(options: &MysqlOptions) -> Result<Conn, InboxError> {
    let clock = SystemClock::new();
    let opened = timeout_at(&clock, clock.now().mono + OPEN_TIMEOUT, connect(options)).await;
    let no_response = || format!("{}: no response within {} s", options.place(), OPEN_TIMEOUT.as_secs());
    opened.unwrap_or_else(|| Err(InboxError::Unavailable(no_response())))
}

async fn connect(options: &MysqlOptions) -> Result<Conn, InboxError> {
    let place = options.place();
    let settings = SETTINGS.iter().map(|setting| (*setting).to_owned()).collect();
    let mut connection =
        Conn::new(options.driver_options(settings)?).await.map_err(|error| inbox_error(&place, &error))?;
    let engine = check(&mut connection).await.map_err(|error| inbox_error(&place, &error))?;
    let engine = match engine.as_deref() {
        Some("InnoDB") => return Ok(connection),
        engine => engine.unwrap_or("VIEW"),
    };
    Err(refused(
        format!("{place}: wxsub_inbox is of {engine}, which has no transactions; make the table with InnoDB"),
        format!("{place}：wxsub_inbox 的存储引擎是 {engine}，不支持事务；请用 InnoDB 建表"),
    ))
}

async fn check(connection: &mut Conn) -> Result<Option<String>, Error> {
    for statement in CHECKS {
        connection.query_drop(statement).await?;
    }
    connection.query_first(ENGINE).await
}
