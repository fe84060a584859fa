//! Bare servers that do the same work as the control server.

use std::convert::Infallible;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use wxsub_benches::subject;

/// A bare axum server: it gives the same response to every request, with the headers of the control server.
///
/// Serves until it is killed, on a runtime like that of `wxsub serve`.
pub(crate) fn run_constant(response: &str) {
    let response = Bytes::copy_from_slice(response.as_bytes());
    let constant = move || {
        let response = response.clone();
        async move { ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], response) }
    };
    let router = Router::new().route("/v1/apps/{appid}/access_token", get(constant));
    Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, router).await.unwrap();
    });
}

type Pool = Client<HttpConnector, Full<Bytes>>;

/// Two plain hyper hops: a hyper server takes a request, the pooled client forwards its body, and the server returns the
/// response. Nothing is parsed, checked, limited or counted.
///
/// Serves until it is killed, on a runtime like that of `wxsub serve`.
pub(crate) fn run_forwarder(upstream: &str) {
    let (url, _) = subject::written(&upstream.parse().unwrap());
    let to: Uri = url.parse().unwrap();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let pool: Pool = Client::builder(TokioExecutor::new()).build(connector);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(connection(stream, pool.clone(), to.clone()));
        }
    });
}

async fn connection(stream: TcpStream, pool: Pool, to: Uri) {
    let service = service_fn(move |request| forward(request, pool.clone(), to.clone()));
    // The caller notices if the connection breaks.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn forward(
    request: Request<Incoming>,
    pool: Pool,
    to: Uri,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut onward = Request::new(Full::new(body));
    *onward.method_mut() = Method::POST;
    *onward.uri_mut() = to;
    onward.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (head, body) = pool.request(onward).await.unwrap().into_parts();
    let mut response = Response::new(Full::new(body.collect().await.unwrap().to_bytes()));
    *response.status_mut() = head.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
