//! What a request and a reply are made of, and how replies are read.

mod envelope;
mod object;
mod query;
mod request;

pub use envelope::{RawReply, Reply, Unreadable};
pub(crate) use envelope::{acknowledgement, members, number};
pub(crate) use object::{ObjectVisitor, strict_object};
pub(crate) use query::push_component;
pub use query::{NotUtf8, decode_query, encode_component};
pub use request::{Method, QueryPair, Request};
