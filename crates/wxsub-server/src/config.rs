//! The configuration: read as a whole, checked as a whole, and refused as a whole with everything that is wrong with it.

mod app;
mod client;
mod diagnostic;
mod secret;
mod store;
mod table_reader;

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Table;

pub(crate) use self::app::AppConfig;
use self::app::TransportCache;
pub use self::client::is_client_name;
use self::diagnostic::Diagnostics;
pub use self::diagnostic::{ConfigError, Diagnostic};
pub(crate) use self::store::SharedStore;
use self::table_reader::TableReader;
use crate::client::{ApiClient, AppAccess};
use crate::tls::Tls;

/// Where the server listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8460);

/// Everything the server is told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) audit: AuditTo,
    pub(crate) apps: Vec<AppConfig>,
    pub(crate) clients: Vec<ApiClient>,
    pub(crate) limits: Limits,
    pub(crate) store: Option<SharedStore>,
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuditTo {
    Stderr,
    File(PathBuf),
    Off,
}

/// What clients may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    /// Until the head of a request has come.
    pub(crate) header: Duration,
    /// For a request as a whole.
    pub(crate) request: Duration,
    pub(crate) body: usize,
}

impl Config {
    /// Reads the TOML text of a configuration, and the files it names. `environment` gives the variables it names.
    /// What is worth knowing though it can be used comes beside it.
    ///
    /// # Errors
    /// [`ConfigError`] names every problem, with its place and what to do.
    pub fn read(
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Diagnostic>), ConfigError> {
        let findings = Diagnostics::default();
        let read = match text.parse::<Table>() {
            Ok(table) => Some(Self::of(TableReader::top(table, &findings), &environment)),
            Err(error) => {
                let line = error.span().map_or(0, |span| {
                    text.get(..span.start).map_or(0, |before| before.matches('\n').count())
                });
                findings.problem(
                    &format!("line {}", line + 1),
                    format_args!("is not TOML: {}", error.message().replace('\n', " ")),
                );
                None
            }
        };
        findings.end(read)
    }

    /// Where to listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where to listen for `/metrics` alone, if it is moved there.
    #[must_use]
    pub fn metrics_listen(&self) -> Option<SocketAddr> {
        self.metrics_listen
    }

    /// Whether it speaks TLS itself.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The keys that are different from those of `running` and that a reload does not change.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let different = [
            ("listen", self.listen != running.listen),
            ("metrics_listen", self.metrics_listen != running.metrics_listen),
            ("state_dir", self.state_dir != running.state_dir),
            ("audit", self.audit != running.audit),
            ("store", self.store != running.store),
        ];
        different.into_iter().filter(|(_, different)| *different).map(|(key, _)| key).collect()
    }

    fn of(mut top: TableReader<'_>, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let (listen, tls) = listen(&mut top);
        let metrics_listen = address(&mut top, "metrics_listen");
        let state_dir = path(&mut top, "state_dir");
        let audit = audit(&mut top);
        let mut ways = TransportCache::default();
        let apps: Vec<_> = top
            .sections("apps")
            .into_iter()
            .filter_map(|section| app::read(section, environment, &mut ways))
            .collect();
        let clients: Vec<_> = top.sections("clients").into_iter().filter_map(client::read).collect();
        let limits = limits(top.section("limits"));
        let store = store::read(top.section("store"));
        unique(&top, "apps", "appid", apps.iter().map(|app| &app.appid));
        unique(&top, "clients", "name", clients.iter().map(|client| &client.name));
        unique(&top, "clients", "key_sha256", clients.iter().map(|client| client.key));
        unknown_apps(&top, &apps, &clients);
        if apps.is_empty() {
            top.problem("apps", "has none that can be used; add [[apps]] with appid and secret_file");
        }
        top.finish();
        Self { listen, tls, metrics_listen, state_dir, audit, apps, clients, limits, store }
    }
}

fn listen(top: &mut TableReader<'_>) -> (SocketAddr, Option<Tls>) {
    let listen = address(top, "listen").unwrap_or(LISTEN);
    let plaintext = top.flag("plaintext");
    let tls = match (path(top, "tls_cert_file"), path(top, "tls_key_file")) {
        (Some(certificate), Some(key)) => match Tls::read(&certificate, &key) {
            Ok(tls) => Some(tls),
            Err(wrong) => {
                top.problem(wrong.key, wrong.text);
                // It was meant to be there.
                return (listen, None);
            }
        },
        (None, None) => None,
        (Some(_), None) => {
            top.problem("tls_key_file", "is missing; it belongs to tls_cert_file");
            None
        }
        (None, Some(_)) => {
            top.problem("tls_cert_file", "is missing; it belongs to tls_key_file");
            None
        }
    };
    if tls.is_none() && !plaintext && !listen.ip().is_loopback() {
        top.problem(
            "listen",
            "is reached from other machines, where keys and tokens would travel in the open; set tls_cert_file and \
             tls_key_file, or plaintext = true if something in front of it speaks TLS",
        );
    }
    (listen, tls)
}

fn address(top: &mut TableReader<'_>, key: &str) -> Option<SocketAddr> {
    let text = top.text(key)?;
    text.parse().map_err(|_| top.problem(key, "must be an address and a port, like 127.0.0.1:8460")).ok()
}

fn path(top: &mut TableReader<'_>, key: &str) -> Option<PathBuf> {
    let text = top.text(key)?;
    if text.is_empty() {
        top.problem(key, "is empty; give it a path or remove it");
    }
    Some(text.into())
}

fn audit(top: &mut TableReader<'_>) -> AuditTo {
    match top.text("audit").as_deref() {
        None | Some("stderr") => AuditTo::Stderr,
        Some("off") => AuditTo::Off,
        Some("") => {
            top.problem("audit", "must be \"stderr\", \"off\" or a path");
            AuditTo::Off
        }
        Some(path) => AuditTo::File(path.into()),
    }
}

fn limits(mut section: TableReader<'_>) -> Limits {
    let mut number = |key, range, default| section.number(key, range, default);
    let limits = Limits {
        connections: number("connections", 1..=1_000_000, 4096) as usize,
        in_flight: number("in_flight", 1..=1_000_000, 1024) as usize,
        header: Duration::from_secs(number("header_timeout_s", 1..=600, 10).into()),
        request: Duration::from_secs(number("request_timeout_s", 1..=600, 30).into()),
        body: number("body_bytes", 1024..=1_048_576, 65_536) as usize,
    };
    section.finish();
    limits
}

fn unique<T: Eq + Hash + Display>(
    top: &TableReader<'_>,
    list: &str,
    key: &str,
    values: impl Iterator<Item = T>,
) {
    let mut seen = HashSet::new();
    for value in values {
        if seen.contains(&value) {
            top.problem(list, format_args!("{key} {value} stands twice; give each its own"));
        }
        seen.insert(value);
    }
}

/// An app that comes later, or a name that was mistyped: nobody can tell.
fn unknown_apps(top: &TableReader<'_>, apps: &[AppConfig], clients: &[ApiClient]) {
    for client in clients {
        let AppAccess::Only(named) = &client.apps else { continue };
        for appid in named.iter().filter(|appid| apps.iter().all(|app| app.appid != **appid)) {
            top.warning(
                "clients",
                format_args!("{} names the app {appid}, which is not configured", client.name),
            );
        }
    }
}

#[cfg(test)]
mod tests;
