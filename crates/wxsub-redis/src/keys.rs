//! The names of an app's keys. The braces keep them on one node of a Redis Cluster.

use wxsub_core::proto::AppId;

/// The names that begin with a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys(String);

impl Keys {
    /// `None` if the prefix is none.
    pub(crate) fn with_prefix(prefix: &str) -> Option<Self> {
        let fits = (1..=64).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        fits.then(|| Self(prefix.to_owned()))
    }

    pub(crate) fn record(&self, app: &AppId) -> String {
        format!("{}:{{{app}}}:record", self.0)
    }

    pub(crate) fn lease(&self, app: &AppId) -> String {
        format!("{}:{{{app}}}:lease", self.0)
    }

    /// The channel on which new generations are made known.
    pub(crate) fn changes(&self, app: &AppId) -> String {
        format!("{}:{{{app}}}:changes", self.0)
    }

    /// The pattern of all channels, as a user's rights name it.
    pub(crate) fn channels(&self) -> String {
        format!("{}:*", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_an_app_share_a_slot_and_hold_nothing_secret() {
        let (keys, app) = (Keys::with_prefix("wxsub").unwrap(), "wx1".parse().unwrap());
        assert_eq!(keys.record(&app), "wxsub:{wx1}:record");
        assert_eq!(keys.lease(&app), "wxsub:{wx1}:lease");
        assert_eq!(keys.changes(&app), "wxsub:{wx1}:changes");
        assert_eq!(keys.channels(), "wxsub:*");
    }

    #[test]
    fn a_prefix_cannot_move_the_slot() {
        for prefix in ["", "a{b", "a:b", "a b", "é", &"x".repeat(65)] {
            assert!(Keys::with_prefix(prefix).is_none(), "{prefix}");
        }
        assert!(Keys::with_prefix("Team-1_prod.eu").is_some());
    }
}
