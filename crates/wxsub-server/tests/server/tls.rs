//! TLS of the server itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::codec::Request;
use wxsub_core::proto::endpoint::domain_ip;
use wxsub_core::rfc3339;
use wxsub_core::testing::ManualClock;
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_sandbox::Sandbox;
use wxsub_sandbox_transport::SandboxTransport;
use wxsub_server::{Config, Server};

use super::setup::{APPS, read_config};

fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// The lines of the configuration for these files.
pub(crate) fn lines(name: &str, certificate: &str, key: &str) -> String {
    let (certificate, key) = (file(&format!("{name}.pem"), certificate), file(&format!("{name}.key"), key));
    format!("tls_cert_file = {certificate:?}\ntls_key_file = {key:?}\n")
}

fn read(lines: &str) -> Result<Config, String> {
    read_config(&format!("audit = \"off\"\n{lines}{APPS}"))
}

/// A certificate of `localhost`, and its private key.
pub(crate) fn localhost() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// The socket is open to other machines. The new configuration alone would be allowed.
#[tokio::test]
async fn reload_does_not_turn_tls_off() {
    let (pem, key) = localhost();
    let with_tls = lines("off", &pem, &key);
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
    let text = lines("end", &certificate.pem(), &key.serialize_pem());
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
        let is_expected = found.map_or(expected.is_empty(), |found| found.starts_with(expected));
        assert!(is_expected, "{now}: {warnings:?}");
    }
    for (mode, count) in [(0o600, 0), (0o644, 1)] {
        let key = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("end.key");
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = format!("audit = \"off\"\n{text}{APPS}");
        let (_, warnings) = Config::read(&text, |_| Some("secret".to_owned())).unwrap();
        let of_key = warnings.iter().filter(|warning| warning.path() == "tls_key_file");
        assert_eq!(of_key.count(), count, "{mode:o}");
    }
}

#[tokio::test]
async fn server_with_certificate_serves_tls() {
    let ((pem, key), (_, other)) = (localhost(), localhost());
    for (certificate, key, problem) in [
        ("", key.as_str(), "tls_cert_file: names a file that cannot be used"),
        (pem.as_str(), "", "tls_key_file: names a file that cannot be used"),
        (pem.as_str(), &other, "tls_key_file: names a file that cannot be used"),
    ] {
        let refused = read(&lines("refused", certificate, key)).unwrap_err();
        assert!(refused.contains(problem) && !refused.contains("PRIVATE"), "{refused}");
    }
    let config = read(&lines("served", &pem, &key)).unwrap();
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

/// An address that opens connections without end takes a share of the CPU only.
#[tokio::test]
async fn handshakes_of_one_address_beyond_its_rate_wait() {
    let (pem, key) = localhost();
    let limits = "[limits]\nhandshakes_per_address = 2\nheader_timeout_s = 1\n";
    let config =
        read_config(&format!("audit = \"off\"\n{}{APPS}{limits}", lines("rate", &pem, &key))).unwrap();
    let clock = Arc::new(ManualClock::new());
    let transport = Arc::new(SandboxTransport::new(&Sandbox::new()));
    let server = Server::builder(config).clock(clock.clone()).transport(transport).build().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let base = BaseUrl::new(&base).unwrap();
    tokio::spawn(async move { server.serve(listener, None, std::future::pending()).await });
    // Each has connections of its own.
    let client = || HyperTransport::builder().roots(Roots::Pem(pem.clone().into_bytes())).build().unwrap();
    let get = async |client: &HyperTransport, path| {
        let request = HttpRequest::new(&base, Request::get(path, Vec::new())).unwrap();
        client.execute(request).await.map(|raw| String::from_utf8(raw.body.to_vec()).unwrap())
    };
    let first = client();
    for client in [&first, &client(), &client()] {
        assert_eq!(get(client, "/livez").await.unwrap(), "ok\n");
    }
    let fourth = client();
    let mut waiting = Box::pin(get(&fourth, "/livez"));
    let reached = "wxsub_limit_reached_total{limit=\"handshakes_per_address\"} 1\n";
    while !get(&first, "/metrics").await.unwrap().contains(reached) {
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    for _ in 0..3 {
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(get(&first, "/livez").await.unwrap(), "ok\n");
    }
    clock.advance_and_run(Duration::from_millis(500)).await;
    assert_eq!(waiting.await.unwrap(), "ok\n");
    let metrics = get(&first, "/metrics").await.unwrap();
    for line in [
        reached,
        "wxsub_limit_max{limit=\"handshakes_per_address\"} 2\n",
        "wxsub_limit_used{limit=\"handshakes_per_address\"} 3\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}
