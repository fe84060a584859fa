//! Weixin's error codes: an open set of numbers, and a table of what is known about them.
//!
//! Only the number decides. The text has typos and changes over the years. It is kept for people.

mod code;
mod remedy;
mod table;

pub use code::{ErrCode, Operation};
pub use remedy::Remedy;
pub use table::{ErrCodeInfo, ErrCodeMeaning};
