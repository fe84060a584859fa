/// Which certificate authorities to trust.
///
/// `Debug` shows the choice and never the bytes of a PEM text.
#[derive(Clone, PartialEq, Eq, Hash, Default, derive_more::Debug)]
#[non_exhaustive]
pub enum Roots {
    /// The authorities of this machine, including those that its administrator added.
    ///
    /// `rustls-native-certs` finds them. It respects `SSL_CERT_FILE` and `SSL_CERT_DIR`, as OpenSSL does.
    #[default]
    System,
    /// Mozilla's authorities, as of the time when the `webpki-roots` crate was released.
    ///
    /// For container images that contain no authorities.
    Bundled,
    /// Only the authorities in this PEM text.
    ///
    /// For a private authority, or for a proxy that decrypts TLS.
    #[debug("Pem({} bytes)", _0.len())]
    Pem(Vec<u8>),
}
