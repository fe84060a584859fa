//! TLS of the server itself.

use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::endpoint::domain_ip;
use wxsub_core::rfc3339;
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_server::{Config, Server};

use super::setup::APPS;

fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn configured(certificate: &str, key: &str) -> Result<Config, String> {
    let (certificate, key) = (file("certificate.pem", certificate), file("key.pem", key));
    read(&format!("tls_cert_file = {certificate:?}\ntls_key_file = {key:?}\n"))
}

fn read(lines: &str) -> Result<Config, String> {
    let text = format!("audit = \"off\"\n{lines}{APPS}");
    Config::read(&text, |_| Some("secret".to_owned()))
        .map(|(config, _)| config)
        .map_err(|error| error.to_string())
}

/// The socket is open to other machines. The new configuration alone would be allowed.
#[tokio::test]
async fn reload_does_not_turn_tls_off() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) =
        (file("off.pem", &made.cert.pem()), file("off.key", &made.signing_key.serialize_pem()));
    let with_tls = format!("tls_cert_file = {certificate:?}\ntls_key_file = {key:?}\n");
    let server = Server::builder(read(&with_tls).unwrap()).build().await.unwrap();
    let error = server.reload(&read("").unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("tls_cert_file: cannot change while the server runs"), "{error}");
    server.reload(&read(&with_tls).unwrap()).unwrap();
    let server = Server::builder(read("").unwrap()).build().await.unwrap();
    assert!(server.reload(&read(&with_tls).unwrap()).is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn end_of_the_certificate_is_shown_and_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2026, 6, 30);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let (certificate, key) = (file("end.pem", &certificate.pem()), file("end.key", &key.serialize_pem()));
    let text = format!("tls_cert_file = {certificate:?}\ntls_key_file = {key:?}\n");
    let config = read(&text).unwrap();
    for (now, expected) in [
        ("2025-12-31T00:00:00Z", "tls_cert_file: the certificate is valid only from 2026-01-01T00:00:00Z"),
        ("2026-06-15T23:59:59Z", ""),
        ("2026-06-16T00:00:00Z", "tls_cert_file: the certificate ends at 2026-06-30T00:00:00Z"),
        ("2026-06-30T00:00:00Z", "tls_cert_file: the certificate ended at 2026-06-30T00:00:00Z"),
    ] {
        let check = config.check_start(rfc3339::parse(now).unwrap()).await;
        let warnings: Vec<_> = check.warnings.iter().map(ToString::to_string).collect();
        let found = warnings.iter().find(|warning| warning.starts_with("tls_cert_file"));
        assert!(
            found.map_or(expected.is_empty(), |found| found.starts_with(expected)),
            "{now}: {warnings:?}"
        );
    }
    for (mode, count) in [(0o600, 0), (0o644, 1)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = format!("audit = \"off\"\n{text}{APPS}");
        let (_, warnings) = Config::read(&text, |_| Some("secret".to_owned())).unwrap();
        let of_key = warnings.iter().filter(|warning| warning.path() == "tls_key_file");
        assert_eq!(of_key.count(), count, "{mode:o}");
    }
}

#[tokio::test]
async fn server_with_certificate_serves_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    for (certificate, key, problem) in [
        ("", key.as_str(), "tls_cert_file: names a file that cannot be used"),
        (pem.as_str(), "", "tls_key_file: names a file that cannot be used"),
        (pem.as_str(), &other.signing_key.serialize_pem(), "tls_key_file: names a file that cannot be used"),
    ] {
        let refused = configured(certificate, key).unwrap_err();
        assert!(refused.contains(problem) && !refused.contains("PRIVATE"), "{refused}");
    }
    let config = configured(&pem, &key).unwrap();
    assert!(config.has_tls());
    let server = Server::builder(config).build().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(async move { server.serve(listener, None, async { drop(stopped.await) }).await });
    let transport = HyperTransport::builder().roots(Roots::Pem(pem.into_bytes())).build().unwrap();
    let base = BaseUrl::new(&format!("https://localhost:{port}")).unwrap();
    let request = HttpRequest::new(&base, domain_ip::request_unauthenticated()).unwrap();
    let raw = transport.execute(request).await.unwrap();
    assert_eq!((raw.status, &raw.body[..17]), (200, b"{\"errcode\":40066,".as_slice()));
    drop(transport);
    drop(stop);
    assert_eq!(serving.await.unwrap(), 0);
}
