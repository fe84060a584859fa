//! The control server inside a web application: one process, one port, and other routes beside it.
//!
//! `cargo run -p wxsub-examples --example embed_server` calls the application over HTTP and prints the responses.
//! `cargo run -p wxsub-examples --example embed_server -- --stay` waits: it prints commands for curl.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::AUTHORIZATION;
use axum::routing::get;
use tokio::net::TcpListener;
use tower_service::Service;
use wxsub_examples::{APPID, Weixin};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let weixin = Weixin::start().await?;
    let (server, key) = weixin.control_server().await?;
    // The first client then does not have to wait for Weixin.
    server.prefetch_tokens();
    let application = Router::new().route("/", get(|| async { "The shop itself." })).merge(server.router());

    let token = format!("/v1/apps/{APPID}/access_token");
    if std::env::args().any(|argument| argument == "--stay") {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        println!("curl {base}/\ncurl -H 'Authorization: Bearer {}' {base}{token}", key.expose_secret());
        // The server needs the address of each client: keys can be bound to networks, and the audit has addresses.
        let service = application.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).await?;
        return Ok(());
    }
    for (who, path, key) in [
        ("a visitor", "/", None),
        ("a client without key", token.as_str(), None),
        ("a client", token.as_str(), Some(key.expose_secret())),
        ("a load balancer", "/readyz", None),
    ] {
        println!("{who} sees {}", ask(application.clone(), path, key).await?);
    }
    Ok(())
}

/// Status and body. A token is not shown.
async fn ask(mut application: Router, path: &str, key: Option<&str>) -> Result<String, Box<dyn Error>> {
    let mut request = Request::get(path);
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    let (head, body) = application.call(request.body(Body::empty())?).await?.into_parts();
    let body = String::from_utf8(to_bytes(body, 4096).await?.to_vec())?;
    let shown = if body.contains("access_token\":") { "an access_token" } else { body.trim_end() };
    Ok(format!("{}: {shown}", head.status))
}
