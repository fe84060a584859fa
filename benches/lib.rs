//! What the tables share: rows, the numbers of a process, and the server that all contenders call.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a benchmark may panic"
)]

mod arguments;
mod row;
pub mod subject;
pub mod upstream;

pub use arguments::{Arguments, again, output, start, words};
pub use row::{Goal, Row, Unit};
