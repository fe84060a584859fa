//! A bare axum server: it gives the same response to every request, with the headers of the control server.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// Serves until it is killed, on a runtime like that of `wxsub serve`.
pub(crate) fn run(answer: &str) {
    let answer = Bytes::copy_from_slice(answer.as_bytes());
    let constant = move || {
        let answer = answer.clone();
        async move { ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], answer) }
    };
    let router = Router::new().route("/v1/apps/{appid}/access_token", get(constant));
    Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, router).await.unwrap();
    });
}
