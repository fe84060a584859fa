//! What the requests to the console share.

use std::sync::Arc;

use super::login_limiter::LoginLimiter;
use super::passwords::Passwords;
use super::session::Sessions;
use crate::apps::{Load, ServerState};
use crate::config::ConsoleAddress;

/// What the requests to the console share.
pub(crate) struct Console {
    pub(super) state: Arc<ServerState>,
    pub(super) address: ConsoleAddress,
    pub(super) sessions: Sessions,
    pub(super) logins: LoginLimiter,
    pub(super) passwords: Passwords,
    /// The forms that are not complete yet.
    pub(super) forms: Arc<Load>,
}

impl Console {
    pub(crate) fn new(state: &Arc<ServerState>, address: ConsoleAddress) -> Self {
        let (sessions, logins, passwords, forms) = Default::default();
        Self { state: Arc::clone(state), address, sessions, logins, passwords, forms }
    }
}
