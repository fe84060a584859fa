//! Browsers in which a user has logged in before. Their failed logins count for themselves, so that a caller who guesses the
//! password of a user cannot keep the user out: the device cookies of OWASP.

use base16ct::HexDisplay;
use subtle::ConstantTimeEq;
use wxsub_core::consent::RngError;

use crate::config::ConsoleUser;

/// A browser in which this user has logged in: a random number in its cookie, which the server has signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct KnownBrowser {
    number: String,
}

impl KnownBrowser {
    /// One in which a user has just logged in for the first time.
    ///
    /// # Errors
    /// [`RngError`] if the system gives no random bytes.
    pub(super) fn generate() -> Result<Self, RngError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| RngError)?;
        Ok(Self { number: format!("{:x}", HexDisplay(&bytes)) })
    }

    /// Reads a cookie. `None` if it was not made for this user with this password.
    pub(super) fn parse(cookie: &str, user: &ConsoleUser) -> Option<Self> {
        let (number, _) = cookie.split_once('.')?;
        let browser = Self { number: number.to_owned() };
        let is_signed: bool = browser.cookie(user).as_bytes().ct_eq(cookie.as_bytes()).into();
        is_signed.then_some(browser)
    }

    /// The value of the cookie.
    pub(super) fn cookie(&self, user: &ConsoleUser) -> String {
        let ConsoleUser { name, password, .. } = user;
        let signature = password.sign(&format!("known browser\n{name}\n{}", self.number));
        format!("{}.{:x}", self.number, HexDisplay(&signature))
    }
}
