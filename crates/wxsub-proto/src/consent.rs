//! Consent: the request a user is asked to confirm, the answer that comes back, and what to expect of it.
//!
//! <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>

mod answer;
mod expected;
mod fields;
mod request;
mod reserved;
mod web_link;

pub use answer::{Action, Answer};
pub use expected::{Expected, Mismatch};
pub use request::ConsentRequest;
pub use reserved::Reserved;
pub use web_link::WebLink;
