//! Consent: the request a user confirms, the callback that follows, and what to expect of it.
//!
//! <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>

mod callback;
mod request;

pub use callback::{CallbackExpectations, CallbackMismatch, ConsentAction, ConsentCallback};
pub use request::{ConsentRequest, ConsentUrl, Reserved};
