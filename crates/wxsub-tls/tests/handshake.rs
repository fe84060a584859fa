//! TLS handshakes in memory, with a certificate authority that each test creates.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use wxsub_tls::{CertificateErrorKind, Roots, TlsErrorKind, classify_tls_error, client_config};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

fn for_host(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

fn server(authority: &Authority, params: &CertificateParams) -> ServerConnection {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// Performs a handshake with `api.test`. The error is the client's.
fn handshake(roots: &Roots, mut server: ServerConnection) -> Result<(), TlsErrorKind> {
    let config = Arc::new(client_config(roots).unwrap());
    let name = ServerName::try_from("api.test").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    while client.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client
                .process_new_packets()
                .map_err(|error| classify_tls_error(&std::io::Error::other(error)).unwrap())?;
        }
    }
    Ok(())
}

fn pem(authority: &Authority) -> Roots {
    Roots::Pem(authority.pem.clone().into_bytes())
}

#[test]
fn certificate_of_trusted_authority_is_accepted() {
    let ours = authority();
    assert_eq!(handshake(&pem(&ours), server(&ours, &for_host("api.test"))), Ok(()));
}

#[test]
fn untrusted_certificate_is_rejected_with_its_kind() {
    let ours = authority();
    let mut expired = for_host("api.test");
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let mut early = for_host("api.test");
    early.not_before = date_time_ymd(4000, 1, 1);
    let mut for_clients = for_host("api.test");
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

    for (roots, params, kind) in [
        (Roots::Bundled, for_host("api.test"), CertificateErrorKind::UnknownIssuer),
        (pem(&authority()), for_host("api.test"), CertificateErrorKind::UnknownIssuer),
        (pem(&ours), for_host("other.test"), CertificateErrorKind::HostnameMismatch),
        (pem(&ours), expired, CertificateErrorKind::Expired),
        (pem(&ours), early, CertificateErrorKind::NotYetValid),
        (pem(&ours), for_clients, CertificateErrorKind::InvalidPurpose),
    ] {
        let error = handshake(&roots, server(&ours, &params)).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        assert_eq!(error, TlsErrorKind::Certificate(kind));
    }
}
