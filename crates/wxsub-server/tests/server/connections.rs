//! Connections of the listener: what the server accepts on them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wxsub_server::{Config, Server};

use super::setup::{APPS, SECRET};

/// A server on loopback.
async fn serve(more: &str) -> SocketAddr {
    let (config, _) =
        Config::read(&format!("audit = \"off\"\n{APPS}{more}"), |_| Some(SECRET.to_owned())).unwrap();
    let server = Server::builder(config).build().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.serve(listener, None, std::future::pending()).await });
    address
}

/// The response to these bytes, until the server closes the connection.
async fn response(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn request_without_exactly_one_valid_host_is_rejected() {
    let address = serve("").await;
    for (head, status) in [
        ("GET /livez HTTP/1.1\r\nHost: wxsub.example\r\n", 200),
        ("GET /livez HTTP/1.1\r\nHost: [::1]:8460\r\n", 200),
        ("GET http://wxsub.example/livez HTTP/1.1\r\nHost: wxsub.example\r\n", 200),
        ("GET /livez HTTP/1.1\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nhost: b\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost:\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a, b\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: u@a\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: a/b\r\n", 400),
        // HTTP/1.0 needs no host, as health checks of load balancers send it.
        ("GET /livez HTTP/1.0\r\n", 200),
        ("GET /livez HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
    ] {
        let text = response(address, &format!("{head}Connection: close\r\n\r\n")).await;
        let found: u16 = text.split(' ').nth(1).unwrap_or_else(|| panic!("{head}: {text}")).parse().unwrap();
        assert_eq!(found, status, "{head}: {text}");
        assert_eq!(text.contains("Host"), status == 400, "{text}");
    }
}
