//! The key names of an app. The braces put them on one node of a Redis Cluster.

use wxsub_core::proto::AppId;

/// Key names with a common prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys(String);

impl Keys {
    /// Returns `None` if the prefix is not 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub(crate) fn with_prefix(prefix: &str) -> Option<Self> {
        let is_valid = (1..=64).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        is_valid.then(|| Self(prefix.to_owned()))
    }

    pub(crate) fn record(&self, app: &AppId) -> String {
        format!("{}:{{{app}}}:record", self.0)
    }

    pub(crate) fn lease(&self, app: &AppId) -> String {
        format!("{}:{{{app}}}:lease", self.0)
    }

    /// The channel on which new generations are published.
    pub(crate) fn changes(&self, app: &AppId) -> String {
        format!("{}:{{{app}}}:changes", self.0)
    }

    /// The pattern of all channels. A Redis ACL grants the right to subscribe by this pattern.
    pub(crate) fn channel_pattern(&self) -> String {
        format!("{}:*", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_an_app_share_a_slot() {
        let (keys, app) = (Keys::with_prefix("wxsub").unwrap(), "wx1".parse().unwrap());
        assert_eq!(keys.record(&app), "wxsub:{wx1}:record");
        assert_eq!(keys.lease(&app), "wxsub:{wx1}:lease");
        assert_eq!(keys.changes(&app), "wxsub:{wx1}:changes");
        assert_eq!(keys.channel_pattern(), "wxsub:*");
    }

    #[test]
    fn prefix_that_could_change_the_slot_is_rejected() {
        for prefix in ["", "a{b", "a:b", "a b", "é", &"x".repeat(65)] {
            assert!(Keys::with_prefix(prefix).is_none(), "{prefix}");
        }
        assert!(Keys::with_prefix("Team-1_prod.eu").is_some());
    }
}
