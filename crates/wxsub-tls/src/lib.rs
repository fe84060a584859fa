//! Which certificate authorities to trust, as a ready rustls configuration; and what a failed handshake was about.
//!
//! Both HTTP adapters take their TLS from here, so that they trust the same servers and name the same faults. The
//! provider is ring, handed over with the configuration: nothing is installed for the whole process, and another
//! provider in the same program is left alone.
//!
//! ```
//! let config = wxsub_tls::client_config(&wxsub_tls::Roots::Bundled)?;
//! assert_eq!(config.alpn_protocols, [b"http/1.1"]);
//! # Ok::<(), wxsub_tls::TlsError>(())
//! ```

mod config;
mod fault;
mod roots;

pub use config::{TlsError, client_config};
pub use fault::{CertificateFault, TlsFault, fault_of};
pub use roots::Roots;
