//! The access token: when to fetch it, where to store it, and what to do when it is invalidated.

mod attempt_limit;
mod cache;
mod cached_token;
mod certainty;
mod error;
mod event;
mod force_refresh_log;
mod refresh;
mod schedule;
mod source;
mod status;
mod store_health;
mod upstream;
mod weixin;

pub use attempt_limit::AttemptLimit;
pub use cache::{TokenCache, TokenCacheBuilder, WeixinSettings};
pub use cached_token::{CachedToken, Fingerprint, Generation};
pub use error::{TokenError, TokenErrorKind};
pub(crate) use event::Observer;
pub use event::{
    Action, Event, Evidence, FetchOutcome, FetchRequest, RefreshMode, ReportOutcome, TokenEvent, TokenOrigin,
};
pub use force_refresh_log::ForceRefreshLog;
pub use refresh::RefreshState;
pub use source::{CurrentToken, TokenSource};
pub use status::{StoreProblem, TokenStatus};
pub use upstream::{FetchedToken, TokenUpstream, UpstreamBehavior, UpstreamRequest};
pub use weixin::TokenEndpoint;
