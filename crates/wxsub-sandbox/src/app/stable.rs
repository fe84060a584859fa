//! Stable tokens: the same for all who ask, until it is due or forced.

use std::time::Duration;

use wxsub_proto::ErrCode;

use super::ration::{Ration, beijing_day};
use super::{AppSettings, Shelf, Token};
use crate::mint::Mint;

const FORCED_A_DAY: u64 = 20;
const FORCED_APART: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct StableShelf {
    shelf: Shelf,
    last_forced: Option<Duration>,
    forced_today: Ration,
}

impl StableShelf {
    /// The current token, or a new one where it is due or forced. A forced one follows the rule of [`Shelf::issue`]: the
    /// token that was current keeps its overlap, and a second one ends it at once.
    pub(super) fn token(
        &mut self,
        mint: &mut Mint,
        now: Duration,
        settings: &AppSettings,
        force: bool,
    ) -> Result<Token, ErrCode> {
        let just_forced = self.last_forced.is_some_and(|at| now < at + FORCED_APART);
        if force && !just_forced {
            if !self.forced_today.take(beijing_day(now), FORCED_A_DAY) {
                return Err(ErrCode::DAILY_QUOTA);
            }
            self.last_forced = Some(now);
            return Ok(self.shelf.issue(mint, now, settings));
        }
        let ahead = settings.overlap.min(settings.token_life / 2);
        match self.shelf.current() {
            Some(token) if token.outlives(now + ahead) => Ok(token.clone()),
            _ => Ok(self.shelf.issue(mint, now, settings)),
        }
    }

    pub(super) fn find(&self, text: &str) -> Option<&Token> {
        self.shelf.find(text)
    }

    pub(super) fn shelf(&mut self) -> &mut Shelf {
        &mut self.shelf
    }
}
