//! Requests over TLS, with a certificate authority that each test creates. An untrusted server receives no request.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::codec::{QueryPair, Request};
use wxsub_core::transport::{HttpRequest, RequestState, Transport, TransportError, TransportErrorKind};
use wxsub_reqwest::Roots;
use wxsub_test_support::Authority;

use crate::Build;

over_both!(
    trusted_server_receives_request,
    untrusted_server_receives_no_request,
    plain_request_reaches_tls_proxy,
    tls_proxy_gets_connect_request_only,
    untrusted_tls_proxy_receives_no_request,
);

fn authority() -> Authority {
    Authority::new("ours")
}

fn roots(authority: &Authority) -> Roots {
    Roots::Pem(authority.pem.clone().into_bytes())
}

fn for_host(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// Accepts one connection and returns the first line of the request. `None` if the handshake failed.
fn serve(authority: &Authority, params: &CertificateParams) -> (BaseUrl, JoinHandle<Option<String>>) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = BaseUrl::new(&format!("https://localhost:{}", listener.local_addr().unwrap().port()));
    let server = spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), tcp);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte).ok()?;
            request.extend(byte);
        }
        tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").ok()?;
        tls.flush().ok()?;
        Some(String::from_utf8(request).unwrap().lines().next()?.to_owned())
    });
    (base.unwrap(), server)
}

/// Calls `base`, through this proxy if there is one.
async fn call(
    build: Build,
    roots: &Roots,
    proxy: Option<&BaseUrl>,
    base: &BaseUrl,
) -> Result<u16, TransportError> {
    let proxy = proxy.map(|proxy| proxy.as_str().replace("https://", "https://alice:PLANTED@"));
    let request = Request::get("/cgi-bin/token", vec![QueryPair::secret("secret", "PLANTED")]);
    let request = HttpRequest::new(base, request).unwrap();
    Ok(build(roots, proxy.as_deref()).unwrap().transport.execute(request).await?.status)
}

async fn trusted_server_receives_request(build: Build) {
    let ours = authority();
    let (base, server) = serve(&ours, &for_host("localhost"));
    assert_eq!(call(build, &roots(&ours), None, &base).await, Ok(200));
    let line = server.join().unwrap();
    assert_eq!(line.as_deref(), Some("GET /cgi-bin/token?secret=PLANTED HTTP/1.1"));
}

async fn untrusted_server_receives_no_request(build: Build) {
    let ours = authority();
    let mut expired = for_host("localhost");
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let mut early = for_host("localhost");
    early.not_before = date_time_ymd(4000, 1, 1);
    let mut for_clients = for_host("localhost");
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (roots, params, says) in [
        (&Roots::Bundled, for_host("localhost"), "issuer is not among"),
        (&roots(&authority()), for_host("localhost"), "issuer is not among"),
        (&roots(&ours), for_host("api.test"), "another host name"),
        (&roots(&ours), expired, "has expired"),
        (&roots(&ours), early, "not valid yet"),
        (&roots(&ours), for_clients, "does not allow server authentication"),
    ] {
        let (base, server) = serve(&ours, &params);
        let error = call(build, roots, None, &base).await.unwrap_err();
        assert_eq!(
            (error.request_state(), error.kind()),
            (RequestState::NotSent, TransportErrorKind::Certificate)
        );
        assert!(error.detail().contains(says), "{error}");
        assert_eq!(server.join().unwrap(), None);
    }
}

async fn plain_request_reaches_tls_proxy(build: Build) {
    let ours = authority();
    let (proxy, server) = serve(&ours, &for_host("localhost"));
    let base = BaseUrl::insecure("http://weixin.invalid").unwrap();
    assert_eq!(call(build, &roots(&ours), Some(&proxy), &base).await, Ok(200));
    let line = server.join().unwrap();
    assert_eq!(line.as_deref(), Some("GET http://weixin.invalid/cgi-bin/token?secret=PLANTED HTTP/1.1"));
}

/// The test server answers the `CONNECT` and then no TLS.
async fn tls_proxy_gets_connect_request_only(build: Build) {
    let ours = authority();
    let (proxy, server) = serve(&ours, &for_host("localhost"));
    let base = BaseUrl::new("https://weixin.invalid").unwrap();
    let error = call(build, &roots(&ours), Some(&proxy), &base).await.unwrap_err();
    assert_eq!(error.request_state(), RequestState::NotSent, "{error}");
    assert_eq!(server.join().unwrap().as_deref(), Some("CONNECT weixin.invalid:443 HTTP/1.1"));
}

async fn untrusted_tls_proxy_receives_no_request(build: Build) {
    let (ours, other) = (authority(), authority());
    let (proxy, server) = serve(&other, &for_host("localhost"));
    let base = BaseUrl::insecure("http://weixin.invalid").unwrap();
    let error = call(build, &roots(&ours), Some(&proxy), &base).await.unwrap_err();
    assert_eq!(
        (error.request_state(), error.kind()),
        (RequestState::NotSent, TransportErrorKind::Certificate)
    );
    assert_eq!(server.join().unwrap(), None);
}
