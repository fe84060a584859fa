//! The access token: when to fetch it, who may have it, and what to do when it dies.

mod client_key;
mod command;
mod endpoint;
mod error;
mod event;
mod fixed;
mod generation;
mod issued;
mod keeper;
mod lifecycle;
mod notice;
mod ration;
mod schedule;
mod source;
mod status;

pub use client_key::ClientKey;
pub use command::{Command, Mode, Order, Verdict};
pub use endpoint::TokenEndpoint;
pub use error::{Failure, TokenError};
pub use event::{Event, Evidence, Outcome};
pub use fixed::FixedToken;
pub use generation::Generation;
pub use issued::{Fingerprint, Issued};
pub use keeper::{Keeper, KeeperBuilder};
pub use lifecycle::Lifecycle;
pub(crate) use notice::Observer;
pub use notice::{Notice, Obtained};
pub use ration::ForceLog;
pub use source::{Current, TokenSource};
pub use status::Status;
