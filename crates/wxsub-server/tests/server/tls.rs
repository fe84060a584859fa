//! TLS of the server itself.

use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wxsub_core::proto::BaseUrl;
use wxsub_core::proto::endpoint::domain_ip;
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_server::{Config, Server};

fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn configured(certificate: &str, key: &str) -> Result<Config, String> {
    let (certificate, key) = (file("certificate.pem", certificate), file("key.pem", key));
    let text = format!(
        "audit = \"off\"\ntls_cert_file = {certificate:?}\ntls_key_file = {key:?}\n\
         [[apps]]\nappid = \"wx1\"\nsecret_env = \"S\"\ntoken_endpoint = \"token\"\n\
         api_base = \"http://127.0.0.1:1\"\n"
    );
    Config::read(&text, |_| Some("secret".to_owned()))
        .map(|(config, _)| config)
        .map_err(|error| error.to_string())
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
    serving.await.unwrap();
}
