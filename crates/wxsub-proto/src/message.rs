//! The message and its parts.
//!
//! <https://developers.weixin.qq.com/doc/subscription/en/api/notify/subscribe/api_templatesubscribe.html>

mod body;
mod builder;
mod color;
mod content;
mod draft;
mod tap_target;
mod title;

pub use builder::MessageBuilder;
pub use color::Color;
pub use content::Content;
pub use draft::MessageDraft;
pub use tap_target::{MiniProgram, PagePath, TapTarget};
pub use title::Title;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Grant, HttpUrl};

/// The buffer capacity that an ordinary body needs, in bytes.
const INITIAL_CAPACITY: usize = 512;

/// One message to one user, made from a [`Grant`]. As JSON it is the body that Weixin documents, in both directions.
/// Parsing reports all broken rules at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    grant: Grant,
    title: Title,
    content: Content,
    color: Option<Color>,
    tap_target: Option<TapTarget>,
}

impl Message {
    /// Begins a message that uses this grant.
    pub fn builder(grant: Grant) -> MessageBuilder {
        MessageBuilder::new(grant)
    }

    /// The grant that the message uses.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The title.
    #[must_use]
    pub fn title(&self) -> &Title {
        &self.title
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The colour of the content, if set.
    #[must_use]
    pub fn content_color(&self) -> Option<&Color> {
        self.color.as_ref()
    }

    /// Where a tap leads, if set.
    #[must_use]
    pub fn tap_target(&self) -> Option<&TapTarget> {
        self.tap_target.as_ref()
    }

    /// Where a tap leads on clients that cannot open mini programs.
    #[must_use]
    pub fn tap_url(&self) -> Option<&HttpUrl> {
        self.tap_target.as_ref().and_then(TapTarget::url)
    }

    /// The body that Weixin documents: raw UTF-8, without absent fields.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(INITIAL_CAPACITY);
        // Plain text in plain structs: writing it cannot fail.
        serde_json::to_writer(&mut body, self).map(|()| body).unwrap_or_default()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        body::Body::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        MessageDraft::deserialize(deserializer)?.validate().map_err(serde::de::Error::custom)
    }
}
