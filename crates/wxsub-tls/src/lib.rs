//! What the HTTP adapters of wxsub share: their builder, the TLS client configuration, and the classification of handshake
//! errors.
//!
//! They therefore take the same settings, trust the same certificate authorities and report the same errors.
//! The crypto provider is ring. It is part of the configuration; nothing is installed for the whole process, so another
//! provider in the same program keeps working.
//!
//! ```
//! let config = wxsub_tls::client_config(&wxsub_tls::Roots::Bundled)?;
//! assert_eq!(config.alpn_protocols, [b"http/1.1"]);
//! # Ok::<(), wxsub_tls::TlsConfigError>(())
//! ```

mod builder;
mod config;
mod error;
mod roots;

pub use builder::{BuildError, FromSettings, TransportBuilder};
pub use config::{TlsConfigError, client_config, root_certificates};
pub use error::{TlsErrorKind, classify_tls_error};
pub use roots::Roots;
