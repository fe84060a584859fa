//! Requests, responses, and how a response is decoded.

mod envelope;
mod object;
mod query;
mod request;

pub use envelope::{DecodeError, RawResponse};
pub(crate) use envelope::{acknowledgement, parse_envelope, parse_lenient_int};
pub(crate) use object::{ObjectVisitor, parse_object_without_duplicates};
pub(crate) use query::percent_encode_into;
pub use query::{QueryDecodeError, decode_query, percent_encode};
pub use request::{Method, QueryPair, Request};
