//! Which certificate authorities to trust, as a ready rustls configuration; and what a failed handshake was about.
//!
//! Both HTTP adapters take their TLS from here, so that they trust the same servers and name the same faults. The
//! provider is ring, handed over with the configuration: nothing is installed for the whole process, and another
//! provider in the same program is left alone.
//!
//! ```
//! let config = wxsub_tls::client_config(&wxsub_tls::Roots::Bundled)?;
//! assert_eq!(config.alpn_protocols, [b"http/1.1"]);
//! # Ok::<(), wxsub_tls::TlsConfigError>(())
//! ```

mod config;
mod error;
mod roots;

pub use config::{TlsConfigError, client_config};
pub use error::{CertificateErrorKind, TlsErrorKind, classify_tls_error};
pub use roots::Roots;
