//! The libraries, without us: they write the bytes that we write, and read the whole reply.

mod hyper_client;
mod reqwest_client;
mod socket;

pub(super) use hyper_client::{Connection, Pool};
pub(super) use reqwest_client::Reqwest;
pub(super) use socket::Socket;

use wxsub_core::proto::BaseUrl;

const AGENT: &str = "wxsub/0.1.0";

/// URL and body of the message.
fn written(server: &str) -> (String, Vec<u8>) {
    crate::subject::written(&BaseUrl::new(&format!("http://{server}")).unwrap())
}
