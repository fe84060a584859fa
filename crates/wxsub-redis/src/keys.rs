//! The names of keys and channels.

use wxsub_core::proto::AppId;

/// The key names of an app, with a common prefix.
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

    /// A hash, a string, and a sorted set that is also a channel. Only [`RedisStore::check`] uses them. Their slots in a
    /// cluster differ.
    pub(crate) fn of_check(&self) -> [String; 3] {
        ["{check}:record", "{check-lease}:lease", "{check}:changes"].map(|name| format!("{}:{name}", self.0))
    }

    /// The list of the records that changed.
    pub(crate) fn change_log(&self) -> String {
        format!("{}:changes", self.0)
    }

    /// The channel on which new generations are published.
    pub(crate) fn channel(&self, app: &AppId) -> String {
        format!("{}:{{{app}}}:changes", self.0)
    }

    /// The app of a channel.
    pub(crate) fn app_of_channel(&self, channel: &str) -> Option<AppId> {
        let app = channel.strip_prefix(&self.0)?.strip_prefix(":{")?.strip_suffix("}:changes")?;
        AppId::new(app).ok()
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
        assert_eq!(keys.channel(&app), "wxsub:{wx1}:changes");
        assert_eq!(keys.app_of_channel("wxsub:{wx1}:changes"), Some(app));
        for other in ["wxsub:changes", "other:{wx1}:changes", "wxsub:{wx1}:record", "wxsub:{}:changes"] {
            assert_eq!(keys.app_of_channel(other), None, "{other}");
        }
        assert_eq!(keys.change_log(), "wxsub:changes");
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
