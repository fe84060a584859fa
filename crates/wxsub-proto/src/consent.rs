//! Consent: the request a user confirms, the callback that follows, and what to expect of it.
//!
//! <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>

mod callback;
mod consent_url;
mod expectations;
mod fields;
mod request;
mod reserved;

pub use callback::{ConsentAction, ConsentCallback};
pub use consent_url::ConsentUrl;
pub use expectations::{CallbackExpectations, CallbackMismatch};
pub use request::ConsentRequest;
pub use reserved::Reserved;
