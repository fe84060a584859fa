//! The libraries alone. They write the same bytes and read the whole response. Prepared contenders only copy the request.
//! Contenders "by hand" do what an application without wxsub has to do for every message.

mod hyper_client;
mod reqwest_client;
mod socket;

pub(super) use hyper_client::{Connection, Pool, PoolByHand};
pub(super) use reqwest_client::{Reqwest, ReqwestByHand};
pub(super) use socket::Socket;

use std::time::Duration;

use wxsub_core::proto::BaseUrl;

const AGENT: &str = "wxsub/0.1.0";

/// The same limits as ours.
const LIMIT: Duration = Duration::from_secs(15);

/// URL and body of the message.
fn written(server: &str) -> (String, Vec<u8>) {
    crate::subject::written(&base(server))
}

fn base(server: &str) -> BaseUrl {
    BaseUrl::new(&format!("http://{server}")).unwrap()
}
