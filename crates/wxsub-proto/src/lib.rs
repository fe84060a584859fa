//! What Weixin says about one-time subscription messages: types, limits, error codes and bytes.
//!
//! A user consents to ONE message; the backend may then push it. This crate holds the facts of that exchange and
//! nothing else: no I/O, no runtime, no clock. Everything that goes over the wire is a type here, for both sides: a
//! client encodes requests and decodes responses, a server (or an emulator) does the reverse.
//!
//! Every type validates its input. Constructors, [`FromStr`](std::str::FromStr) and serde use the same check, so every
//! [`Title`] is a title that Weixin accepts:
//!
//! ```
//! use wxsub_proto::{Grant, Message, Title};
//!
//! let too_long = "a title of more than fifteen characters".parse::<Title>().unwrap_err();
//! assert_eq!(too_long.to_string(), "title: has 39 characters, at most 15 are allowed; shorten it");
//!
//! let grant = Grant::assume_verified("oyAaTjt-xXvP87pubE4eUOF-ttD4", "7YuTL__ilzyZB9DXcDt2mHx", 1000)?;
//! let message = Message::builder(grant).title("Parcel").content("It is here.\nCome and get it.").build()?;
//! assert_eq!(message.content().as_str().lines().count(), 2);
//! # Ok::<(), wxsub_proto::ValidationErrors>(())
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`consent`] | the request a user confirms, the callback that follows, what to expect of it |
//! | [`message`] | the message and its parts |
//! | [`endpoint`] | Weixin's server API, one file per endpoint: requests and responses |
//! | [`codec`] | requests, responses, and how a response is decoded |
//! | [`errcode`] | the error codes: what they mean and what to do |
//! | [`redact`] | text from outside on one line |

pub mod api_error;
pub mod codec;
pub mod consent;
pub mod endpoint;
pub mod errcode;
mod grant;
mod id;
mod language;
pub mod message;
mod named_enum;
pub mod redact;
mod scene;
mod secret;
mod url;
mod validation;

pub use api_error::{ApiError, TraceId};
pub use consent::{ConsentAction, ConsentCallback, ConsentRequest, Reserved};
pub use errcode::{ErrCode, Operation, Remedy};
pub use grant::Grant;
pub use id::{AppId, OpenId, TemplateId};
pub use language::{Language, LocalizedText};
pub use message::{Color, Content, Message, Title};
pub use scene::Scene;
pub use secret::{AccessToken, AppSecret};
pub use url::{BaseUrl, BaseUrls, HttpUrl, is_loopback_host};
pub use validation::{ErrorCollector, ValidationError, ValidationErrorKind, ValidationErrors};
