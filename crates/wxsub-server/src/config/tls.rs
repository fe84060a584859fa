//! The certificate of the server.

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{LocalizedText, localized_text};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::file::{
    Links, MAX_PEM_BYTES, is_readable_by_others, open_regular, read_regular_file, unreadable_file,
};

/// A validated TLS configuration.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// From when all certificates of the chain are valid.
    pub(crate) valid_from: UnixMillis,
    /// When the first certificate of the chain ends.
    pub(crate) valid_until: UnixMillis,
    /// Whether every user of this machine can read the private key.
    pub(super) is_key_readable_by_others: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("valid_until", &self.valid_until).finish_non_exhaustive()
    }
}

/// The key of the file that cannot be used, and why.
pub(super) struct TlsFileError {
    pub(super) key: &'static str,
    pub(super) text: LocalizedText<String>,
}

fn unusable_file(error: impl Display) -> LocalizedText<String> {
    localized_text!("names a file that cannot be used: {error}", "指定的文件无法使用：{error}")
}

fn chain_error(error: impl Display) -> TlsFileError {
    TlsFileError { key: "tls_cert_file", text: unusable_file(error) }
}

fn key_error(error: impl Display) -> TlsFileError {
    TlsFileError { key: "tls_key_file", text: unusable_file(error) }
}

impl Tls {
    /// Reads certificate chain and private key, both PEM.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsFileError> {
        let unreadable = |key, path| move |error| TlsFileError { key, text: unreadable_file(path, &error) };
        let pem = read_regular_file(certificate, MAX_PEM_BYTES)
            .map_err(unreadable("tls_cert_file", certificate))?;
        let chain =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(chain_error)?;
        let mut validity = None;
        for certificate in &chain {
            let (from, until) = validity_of(certificate)?;
            let (latest, earliest) = validity.unwrap_or((from, until));
            validity = Some((from.max(latest), until.min(earliest)));
        }
        let (valid_from, valid_until) =
            validity.ok_or_else(|| {
            let error = LocalizedText::new("it contains no certificate in PEM", "其中没有 PEM 格式的证书");
            TlsFileError { key: "tls_cert_file", text: localized_text!("names a file that cannot be used: {error}", "指定的文件无法使用：{error}"; error) }
        })?;
        let pem = read_regular_file(key, MAX_PEM_BYTES).map_err(unreadable("tls_key_file", key));
        let pem = Zeroizing::new(pem?);
        let is_key_readable_by_others =
            open_regular(key, Links::Follow).is_ok_and(|file| is_readable_by_others(&file));
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(key_error)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(chain_error)?;
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).map_err(key_error)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), valid_from, valid_until, is_key_readable_by_others })
    }
}

fn validity_of(certificate: &CertificateDer<'_>) -> Result<(UnixMillis, UnixMillis), TlsFileError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(chain_error)?;
    let millis = |seconds: i64| UnixMillis::new(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    let validity = parsed.validity();
    Ok((millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp())))
}
