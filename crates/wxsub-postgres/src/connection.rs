//! Connections: where to, how they are encrypted, and how a session is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use derive_setters::Setters;
use tokio::sync::Notify;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::secret_file::SecretFile;
use wxsub_proto::is_loopback_host;
use wxsub_tls::{Roots, client_config};

use crate::error::{ConnectError, ServerProblem};
use crate::session::Session;
use crate::sql;

/// How a ledger is connected to.
#[derive(Clone, derive_more::Debug, Setters)]
#[setters(strip_option)]
#[must_use]
pub struct PostgresOptions {
    #[debug(skip)]
    #[setters(skip)]
    url: String,
    /// Reads the password from this file before each new connection, without the newline at its end.
    #[setters(into)]
    password_file: Option<PathBuf>,
    /// Trusts these certificate authorities. Default: [`Roots::System`].
    roots: Roots,
    /// Whether the schema is made or brought up to date. Yes, unless set otherwise. That needs the rights of an owner only if
    /// there is something to do.
    pub(crate) migrate: bool,
    /// Takes the time from this clock instead of the database's: for tests. All processes on one ledger must have the same time.
    #[debug(skip)]
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

impl PostgresOptions {
    /// With this URL: `postgres://USER@HOST/DATABASE`, or several hosts separated by commas. A directory as the host, with
    /// `%2F` for `/`, is that of a unix socket. A URL with a password is refused: lists of processes and copies of a
    /// configuration show it.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), password_file: None, roots: Roots::default(), migrate: true, clock: None }
    }

    /// Checks the URL and the certificate authorities, without a connection.
    ///
    /// # Errors
    /// [`ConnectError`] says what is wrong with them.
    pub fn check(&self) -> Result<(), ConnectError> {
        Connector::new(self).map(drop)
    }

    /// Whether the URL holds a password, so that it is refused.
    #[must_use]
    pub fn has_password(&self) -> bool {
        read_url(&self.url).is_ok_and(|config| config.get_password().is_some())
    }
}

/// Maximum time until one address of a host accepts a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time until a session is ready, for each host of the URL. A server may accept a connection and not respond.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection whose server does not acknowledge for so long is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Sessions end what the server would wait for without end. Plans do not depend on statistics: each statement is made for an
/// index, and a table grows from nothing to millions of rows within minutes. A commit is durable when it returns.
pub(crate) const SETTINGS: &str = "SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s';
    SET default_transaction_isolation = 'read committed';
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET enable_material = off;
    SET jit = off;
    SET client_min_messages = warning;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// The oldest PostgreSQL that works.
const OLDEST_VERSION: i32 = 130_000;

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    password_file: Option<PathBuf>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The hosts, for error messages.
    pub(crate) host: String,
    /// Notified when a connection gets a notification.
    pub(crate) notified: Arc<Notify>,
}

impl Connector {
    pub(crate) fn new(options: &PostgresOptions) -> Result<Self, ConnectError> {
        let mut config = parse(&options.url)?;
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives_idle(TCP_USER_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name("wxsub");
        }
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // Without TLS, the machine needs no certificate authorities.
        let unused = (config.get_ssl_mode() == SslMode::Disable).then_some(Roots::Bundled);
        let mut tls = client_config(unused.as_ref().unwrap_or(&options.roots))?;
        // The protocol is no HTTP.
        tls.alpn_protocols.clear();
        let host = config.get_hosts().iter().map(name_of).collect::<Vec<_>>().join(",");
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls),
            password_file: options.password_file.clone(),
            clock: options.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::new())),
            host,
            notified: Arc::default(),
        })
    }

    /// Opens a connection that reads, and gets notifications. If a pooler refuses them, workers find messages by polling.
    pub(crate) async fn connect_reader(&self) -> Result<Session, ConnectError> {
        let session = self.connect().await?;
        let _ = session.batch(sql::LISTEN).await;
        Ok(session)
    }

    /// Opens a connection to a server that can be written to.
    pub(crate) async fn connect(&self) -> Result<Session, ConnectError> {
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        let limit = SESSION_TIMEOUT.saturating_mul(hosts);
        let opened = timeout_at(&*self.clock, self.clock.now().mono + limit, self.open()).await;
        let no_response = || ServerProblem::Unreachable(format!("no response within {} s", limit.as_secs()));
        opened.unwrap_or_else(|| Err(no_response().at(&self.host)))
    }

    async fn open(&self) -> Result<Session, ConnectError> {
        let mut config = self.config.clone();
        if let Some(path) = &self.password_file {
            let file = SecretFile::read(path)
                .map_err(|error| ConnectError::PasswordFile(format!("{}: {error}", path.display())))?;
            config.password(file.text.trim_end_matches(['\r', '\n']));
        }
        let failed = |error| ConnectError::database(&self.host, &error);
        let (notified, clock) = (Arc::clone(&self.notified), Arc::clone(&self.clock));
        let session = Session::open(&config, self.tls.clone(), notified, clock).await.map_err(failed)?;
        session.batch(SETTINGS).await.map_err(failed)?;
        let server = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean, \
                      current_setting('server_version_num')::integer";
        let server = session.query_once(server, &[]).await.map_err(failed)?;
        let (read_only, version) =
            server.first().map_or((false, 0), |row| (row.get::<_, bool>(0), row.get::<_, i32>(1)));
        if version < OLDEST_VERSION {
            let found = u32::try_from(version / 10_000).unwrap_or(0);
            return Err(ServerProblem::TooOld(found).at(&self.host));
        }
        if read_only {
            return Err(ServerProblem::ReadOnly.at(&self.host));
        }
        Ok(session)
    }

    /// Fails if sessions do not keep their server connections: two of them hold one each, release them in one order and in the
    /// other, and look whether they get the same ones again.
    pub(crate) async fn check_pooler(&self, one: &Session, two: &Session) -> Result<(), ConnectError> {
        const BEGIN: &str = "BEGIN; SELECT pg_backend_pid()";
        let changed = async {
            let first = (one.first_text(BEGIN).await?, two.first_text(BEGIN).await?);
            for (released_first, released_last) in [(one, two), (two, one)] {
                released_first.batch("COMMIT").await?;
                released_last.batch("COMMIT").await?;
                if (one.first_text(BEGIN).await?, two.first_text(BEGIN).await?) != first {
                    return Ok(true);
                }
            }
            one.batch("COMMIT").await?;
            two.batch("COMMIT").await?;
            Ok::<_, tokio_postgres::Error>(false)
        };
        match changed.await {
            Ok(false) => Ok(()),
            Ok(true) => Err(ServerProblem::TransactionPooler.at(&self.host)),
            Err(error) => Err(ConnectError::database(&self.host, &error)),
        }
    }
}

/// Reads a URL as it is.
fn read_url(url: &str) -> Result<Config, ConnectError> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(ConnectError::Url("it does not begin with postgres://".to_owned()));
    }
    // The user and the password end with the first @.
    let (user, rest) = url.split_at(url.find('@').map_or(0, |at| at + 1));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    // The certificate and its name are verified in every mode that encrypts.
    let pairs = query.split('&').map(|pair| match pair {
        "sslmode=verify-full" | "sslmode=verify-ca" => "sslmode=require",
        pair => pair,
    });
    let url = format!("{user}{place}?{}", pairs.collect::<Vec<_>>().join("&"));
    url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        ConnectError::Url(cause.unwrap_or_else(|| error.to_string()))
    })
}

/// Reads the URL, and refuses one that holds a password, or with which something would go over a network in plain text.
fn parse(url: &str) -> Result<Config, ConnectError> {
    let mut config = read_url(url)?;
    if config.get_hosts().is_empty() {
        return Err(ConnectError::Url("it names no host".to_owned()));
    }
    if config.get_password().is_some() {
        return Err(ConnectError::Url("it holds a password; put it into the password file".to_owned()));
    }
    // Prefer is also the default.
    let prefers = url.split(['?', '&']).any(|pair| pair == "sslmode=prefer");
    let remote_host = config.get_hosts().iter().find(|host| !is_local(host)).map(name_of);
    let remote_address = || config.get_hostaddrs().iter().find(|address| !address.is_loopback());
    let remote = remote_host.or_else(|| remote_address().map(ToString::to_string));
    match (remote, config.get_ssl_mode(), prefers) {
        (Some(host), SslMode::Disable, _) => return Err(ServerProblem::PlainText("disable").at(&host)),
        (Some(host), SslMode::Prefer, true) => return Err(ServerProblem::PlainText("prefer").at(&host)),
        (Some(_), ..) => drop(config.ssl_mode(SslMode::Require)),
        (None, SslMode::Prefer, false) => drop(config.ssl_mode(SslMode::Disable)),
        (None, ..) => {}
    }
    Ok(config)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => is_loopback_host(name),
    }
}

fn name_of(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<SslMode, ConnectError> {
        parse(url).map(|config| config.get_ssl_mode())
    }

    #[test]
    fn a_remote_connection_is_always_encrypted() {
        for url in
            ["postgres://u@db.example/d", "postgres://u@10.0.0.1/d", "postgres://u@localhost,db.example/d"]
        {
            assert_eq!(mode(url), Ok(SslMode::Require), "{url}");
        }
        for mode_in_url in ["require", "verify-ca", "verify-full"] {
            assert_eq!(mode(&format!("postgres://u@db/d?sslmode={mode_in_url}")), Ok(SslMode::Require));
        }
        // The address that is connected to decides, too.
        assert_eq!(mode("postgres://u@localhost/d?hostaddr=10.0.0.1"), Ok(SslMode::Require));
        for mode_in_url in ["disable", "prefer"] {
            let error = mode(&format!("postgres://u@db/d?sslmode={mode_in_url}")).unwrap_err();
            assert_eq!(error, ServerProblem::PlainText(mode_in_url).at("db"));
        }
    }

    #[test]
    fn a_local_connection_is_encrypted_if_the_url_says_so() {
        for host in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert_eq!(mode(&format!("postgres://u@{host}/d")), Ok(SslMode::Disable), "{host}");
            assert_eq!(
                mode(&format!("postgres://u@{host}/d?sslmode=require")),
                Ok(SslMode::Require),
                "{host}"
            );
        }
        assert_eq!(mode("postgres://u@localhost/d?ssl%6Dode=require"), Ok(SslMode::Require));
    }

    #[test]
    fn sslmode_in_another_part_of_the_url_is_no_mode() {
        let url = "postgres://u:sslmode=verify-ca@localhost/d?application_name=sslmode=verify-full";
        let config = read_url(url).unwrap();
        assert_eq!(config.get_password(), Some(&b"sslmode=verify-ca"[..]));
        assert_eq!(config.get_application_name(), Some("sslmode=verify-full"));
        assert_eq!(
            mode("postgres://sslmode=require@localhost/d?application_name=sslmode=prefer"),
            Ok(SslMode::Disable)
        );
    }

    #[test]
    fn an_invalid_url_is_an_error_that_does_not_show_the_password() {
        for url in [
            "sqlite:a",
            "postgres:///d",
            "postgres://u:SESAME@h:x/d",
            "postgres://u:SESAME@h/d?wrong=1",
            "postgres://u:SESAME@h/d",
            "postgres://u@h/d?password=SESAME",
        ] {
            let error = mode(url).unwrap_err().to_string();
            assert!(error.starts_with("ledger URL: ") && !error.contains("SESAME"), "{error}");
        }
        assert!(!format!("{:?}", PostgresOptions::new("postgres://u:SESAME@h/d")).contains("SESAME"));
    }
}
