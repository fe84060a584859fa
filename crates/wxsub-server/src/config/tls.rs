//! The certificate of the server.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wxsub_core::clock::UnixMillis;
use wxsub_core::secret_file::is_readable_by_others;
use wxsub_proto::{LocalizedText, localized_text};
use x509_parser::certificate::Validity;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

use super::document::TableReader;
use super::file::{Links, open_regular, pem_of};
use super::secret::READABLE_BY_OTHERS;

/// A validated TLS configuration.
#[derive(Clone, derive_more::Debug)]
#[debug("Tls(until {valid_until:?})")]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// From when all certificates of the chain are valid.
    pub(crate) valid_from: UnixMillis,
    /// When the first certificate of the chain ends.
    pub(crate) valid_until: UnixMillis,
}

const CERTIFICATE: &str = "tls_cert_file";
const KEY: &str = "tls_key_file";

impl Tls {
    /// Reads certificate chain and private key, both PEM. `None` if there is a problem.
    pub(super) fn read(top: &TableReader<'_>, certificate: &Path, key: &Path) -> Option<Self> {
        let refuse = |key, error: &dyn Display| {
            let text =
                localized_text!("names a file that cannot be used: {error}", "指定的文件无法使用：{error}");
            top.problem(key, text);
        };
        let pem = pem_of(top, CERTIFICATE, certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| refuse(CERTIFICATE, &error)).ok()?;
        let mut validity = None;
        for certificate in &chain {
            let parsed = X509Certificate::from_der(certificate);
            let (_, parsed) = parsed.map_err(|error| refuse(CERTIFICATE, &error)).ok()?;
            let Validity { not_before, not_after } = parsed.validity();
            let (from, until) = (millis(*not_before), millis(*not_after));
            let (latest, earliest) = validity.unwrap_or((from, until));
            validity = Some((from.max(latest), until.min(earliest)));
        }
        let Some((valid_from, valid_until)) = validity else {
            top.refuse(
                CERTIFICATE,
                "names a file that cannot be used: it contains no certificate in PEM",
                "指定的文件无法使用：其中没有 PEM 格式的证书",
            );
            return None;
        };
        let pem = Zeroizing::new(pem_of(top, KEY, key)?);
        if open_regular(key, Links::Follow).is_ok_and(|file| is_readable_by_others(&file)) {
            top.warning(KEY, READABLE_BY_OTHERS);
        }
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| refuse(KEY, &error)).ok()?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| refuse(CERTIFICATE, &error)).ok()?.with_no_client_auth();
        let config = config.with_single_cert(chain, key).map_err(|error| refuse(KEY, &error));
        let mut config = config.ok()?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Some(Self { config: Arc::new(config), valid_from, valid_until })
    }
}

/// Refuses a listener that other machines reach without TLS: `secrets` would travel unencrypted.
pub(super) fn refuse_plaintext(section: &TableReader<'_>, secrets: LocalizedText) {
    let text = localized_text!(
        "is reachable from other machines, but {secrets} would travel unencrypted; set tls_cert_file and tls_key_file, or \
         plaintext = true if a proxy in front of it terminates TLS",
        "可从其他机器访问，{secrets}会明文传输；请设置 tls_cert_file 和 tls_key_file，如果前面的代理负责 TLS，\
         请设置 plaintext = true";
        secrets
    );
    section.problem("listen", text);
}

fn millis(time: ASN1Time) -> UnixMillis {
    UnixMillis::new(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000))
}
