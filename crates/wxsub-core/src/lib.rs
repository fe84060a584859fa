//! Keeps a Weixin access token fresh and sends one-time subscription messages with it, over any HTTP transport.
//!
//! This crate opens no connections. An adapter crate (`wxsub-reqwest`, `wxsub-hyper`) makes the HTTP calls and
//! re-exports everything here, so an application depends on that crate alone. It reads files with secrets, on
//! request: [`SecretFile`](secret_file::SecretFile), [`SigningKey::from_file`](consent::SigningKey::from_file).
//!
//! [`Client`] sends messages.
//!
//! | module | content |
//! |---|---|
//! | [`consent`] | [`ConsentVerifier`]: issues consent requests and verifies callbacks |
//! | [`token`] | the token: its [`TokenCache`](token::TokenCache), the refresh state machine, the [`TokenSource`](token::TokenSource) trait |
//! | [`store`] | the [`TokenStore`](store::TokenStore) trait: a token shared by several processes |
//! | [`transport`] | the [`Transport`](transport::Transport) trait: one HTTP exchange |
//! | [`rate_limit`] | [`TokenBucket`](rate_limit::TokenBucket): a bounded rate |
//! | [`clock`] | the [`Clock`](clock::Clock) trait: the only source of time |
//! | [`rfc3339`] | times as text |
//! | [`secret_file`] | files that hold one secret |
//! | [`error`] | [`SendError`]: the cause, whether the message was sent, what to do, when to try again |
//! | [`quota`] | when Weixin's call quotas start anew |
//! | [`webhook`] | signatures of webhooks |
//! | `testing` | with the feature `testing`: manual clock, mock transport, conformance suites |

mod client;
pub mod clock;
pub mod consent;
pub mod error;
mod hosts;
mod jitter;
pub mod quota;
pub mod rate_limit;
mod retry;
pub mod rfc3339;
pub mod secret_file;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod transport;
pub mod webhook;

pub use client::{Client, ClientBuilder};
pub use consent::ConsentVerifier;
pub use error::{Delivery, ErrorKind, SendError};
pub use wxsub_proto as proto;

/// The names that an application needs, flat. The adapter crates have them at their root.
pub mod application {
    pub use crate::clock::{Clock, SystemClock, UnixMillis};
    pub use crate::consent::{
        InMemoryNonceStore, KeyFileError, Nonce, NonceStore, NonceStoreError, RejectReason, SigningKey,
        VerificationError, VerifiedConsent,
    };
    pub use crate::proto::codec::RawResponse;
    pub use crate::proto::consent::ConsentUrl;
    pub use crate::proto::message::{MessageBuilder, MessageDraft};
    pub use crate::proto::{
        AccessToken, ApiError, AppId, AppSecret, BaseUrl, BaseUrls, Color, ConsentAction, ConsentCallback,
        ConsentRequest, Content, ErrCode, Grant, HttpUrl, Message, OpenId, Operation, Remedy, Reserved,
        Scene, TemplateId, Title, TraceId, ValidationError, ValidationErrorKind, ValidationErrors,
    };
    pub use crate::store::{MemoryStore, TokenStore};
    #[cfg(feature = "testing")]
    pub use crate::testing;
    pub use crate::token::{
        TokenCache, TokenCacheBuilder, TokenEndpoint, TokenError, TokenErrorKind, TokenEvent, TokenSource,
        TokenStatus,
    };
    pub use crate::transport::{
        HttpRequest, RequestState, Transport, TransportError, TransportErrorKind, TransportLimits,
    };
    pub use crate::webhook::{WebhookHeaders, WebhookRejection, WebhookSecret};
    pub use crate::{Client, ClientBuilder, ConsentVerifier, Delivery, ErrorKind, SendError, proto};
}
