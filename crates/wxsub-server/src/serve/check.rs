//! Tries what a start would try.

use std::io;
use std::net::{SocketAddr, TcpListener};

use wxsub_core::clock::UnixMillis;

use crate::apps::certificate_warning;
use crate::config::Config;
use crate::state::audit::Audit;
use crate::state::store::{FileStore, StateError};

/// What would prevent a start, and what may be wrong. Each text begins with the key of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartCheck {
    /// What would prevent a start.
    pub problems: Vec<String>,
    /// What a running server explains, and what will be wrong later.
    pub warnings: Vec<String>,
}

impl Config {
    /// Tries what a start would try: the addresses, the audit file, the state folder, the dates of the certificate.
    ///
    /// An address or folder that is in use is a warning: the server that uses it may be the one to reload.
    #[must_use]
    pub fn check_start(&self, now: UnixMillis) -> StartCheck {
        let mut check = StartCheck::default();
        check.address("listen", Some(self.listen));
        check.address("metrics_listen", self.metrics_listen);
        if let Err(error) = Audit::check(&self.audit) {
            check
                .problems
                .push(format!("audit: cannot write the file: {error}; name another file, or \"off\""));
        }
        match self.state_dir.as_deref().map_or(Ok(()), FileStore::check) {
            Ok(()) => {}
            Err(StateError::InUse) => check.warnings.push(format!("state_dir: {}", StateError::InUse)),
            Err(error) => check.problems.push(format!("state_dir: {error}")),
        }
        if let Some(text) = self.tls.as_ref().and_then(|tls| certificate_warning(tls, now)) {
            check.warnings.push(format!("tls_cert_file: {text}"));
        }
        check
    }
}

impl StartCheck {
    fn address(&mut self, key: &str, address: Option<SocketAddr>) {
        let Some(address) = address else { return };
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                self.warnings.push(format!("{key}: {address} is in use; by this server, if it runs"));
            }
            Err(error) => {
                self.problems.push(format!("{key}: {address} cannot be used: {error}; choose another"));
            }
        }
    }
}
