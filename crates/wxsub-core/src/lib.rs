//! Keeps one valid Weixin access token and sends with it, over any HTTP transport.
//!
//! This crate decides; it does no I/O of its own. An adapter crate (`wxsub-reqwest`, `wxsub-hyper`) carries the requests
//! and re-exports everything here, so applications depend on that one alone.
//!
//! | module | what is in it |
//! |---|---|
//! | [`client`] | [`Client`]: sends messages |
//! | [`consent`] | [`ConsentVerifier`]: issues consent requests and tells genuine answers from forged ones |
//! | [`token`] | the token's life: the pure state machine, its [`TokenCache`](token::TokenCache), the [`TokenSource`](token::TokenSource) trait |
//! | [`store`] | sharing a token between processes |
//! | [`transport`] | the [`Transport`](transport::Transport) trait: one HTTP exchange |
//! | [`clock`] | the [`Clock`](clock::Clock) trait: the only way in which time comes in |
//! | [`error`] | [`SendError`]: what happened, did it arrive, what to do |
//! | `testing` | with the feature of that name: manual clock, scripted transport, contract suites |

pub mod client;
pub mod clock;
pub mod consent;
pub mod error;
mod hosts;
mod jitter;
mod retry;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod transport;

pub use client::Client;
pub use consent::ConsentVerifier;
pub use error::SendError;
pub use wxsub_proto as proto;
