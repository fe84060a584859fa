//! Requests, responses, and how a response is decoded.

mod object;
mod request;
mod response;

pub use object::parse_object;
pub(crate) use object::{
    DUPLICATE_NAME, ValueVisitor, expected_form, parse_object_without_duplicates, visit_scalars,
};
pub(crate) use request::decode_pairs;
pub use request::{Method, QueryPair, Request, decode_query, percent_encode};
pub use response::{DecodeError, RawResponse};
pub(crate) use response::{acknowledgement, parse_envelope, parse_lenient_int};
