//! What a request and a reply are made of, and how replies are read.

mod envelope;
mod object;
mod query;
mod request;

pub use envelope::{DecodeError, RawResponse, Reply};
pub(crate) use envelope::{acknowledgement, parse_envelope, parse_lenient_int};
pub(crate) use object::{ObjectVisitor, parse_object_without_duplicates};
pub(crate) use query::percent_encode_into;
pub use query::{QueryDecodeError, decode_query, percent_encode};
pub use request::{Method, QueryPair, Request};
