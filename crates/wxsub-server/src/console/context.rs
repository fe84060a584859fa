//! What the requests to the console share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::login_limiter::LoginLimiter;
use super::session::Sessions;
use crate::apps::ServerState;
use crate::config::ConsoleAddress;

/// Maximum number of passwords that are verified at a time. Each takes 19 MiB for tens of milliseconds.
const MAX_VERIFICATIONS: usize = 2;

/// What the requests to the console share.
#[derive(Debug)]
pub(crate) struct Console {
    pub(super) state: Arc<ServerState>,
    pub(super) address: ConsoleAddress,
    pub(super) sessions: Sessions,
    pub(super) logins: LoginLimiter,
    pub(super) verifications: Arc<Semaphore>,
}

impl Console {
    pub(crate) fn new(state: &Arc<ServerState>, address: ConsoleAddress) -> Self {
        Self {
            state: Arc::clone(state),
            address,
            sessions: Sessions::default(),
            logins: LoginLimiter::default(),
            verifications: Arc::new(Semaphore::new(MAX_VERIFICATIONS)),
        }
    }
}
