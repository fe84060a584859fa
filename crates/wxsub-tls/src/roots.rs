use std::fmt;

/// The certificate authorities to trust.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Roots {
    /// Those of this machine, including the ones its administrator added. Where the variables `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` are set, `rustls-native-certs` takes them from there, as OpenSSL does.
    #[default]
    System,
    /// Mozilla's, as they were when this was built: for images that have none of their own.
    Bundled,
    /// Only those in this PEM text: for a private authority, or a proxy that looks into TLS.
    Pem(Vec<u8>),
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::Bundled => f.write_str("Bundled"),
            Self::Pem(pem) => write!(f, "Pem({} bytes)", pem.len()),
        }
    }
}
