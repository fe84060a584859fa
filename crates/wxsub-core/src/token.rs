//! The access token: when to fetch it, where to store it, and what to do when it is invalidated.

mod action;
mod cache;
mod cached_token;
mod error;
mod event;
mod generation;
mod rate_limit;
mod refresh;
mod schedule;
mod source;
mod static_token;
mod status;
mod token_event;
mod upstream;
mod weixin;

pub use action::{Action, FetchRequest, RefreshMode, ReportOutcome};
pub use cache::{TokenCache, TokenCacheBuilder, WeixinSettings};
pub use cached_token::{CachedToken, Fingerprint};
pub use error::{TokenError, TokenErrorKind};
pub use event::{Event, Evidence, FetchOutcome};
pub use generation::Generation;
pub use rate_limit::ForceRefreshLog;
pub use refresh::RefreshState;
pub use source::{CurrentToken, TokenSource};
pub use static_token::StaticToken;
pub use status::TokenStatus;
pub(crate) use token_event::Observer;
pub use token_event::{TokenEvent, TokenOrigin};
pub use upstream::{FetchedToken, TokenUpstream, UpstreamBehavior, UpstreamRequest};
pub use weixin::TokenEndpoint;
pub use wxsub_api::ApiKey;
