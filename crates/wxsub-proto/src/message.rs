//! The message and its parts.
//!
//! <https://developers.weixin.qq.com/doc/subscription/en/api/notify/subscribe/api_templatesubscribe.html>

mod body;
mod color;
mod content;
mod draft;
mod tap_target;
mod title;

pub use color::Color;
pub use content::Content;
pub use draft::MessageDraft;
pub use tap_target::{MiniProgram, PagePath, TapTarget};
pub use title::Title;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Grant, HttpUrl};

/// The bytes of an ordinary body.
const INITIAL_CAPACITY: usize = 512;

/// One message to one user, made from a [`Grant`]. As JSON it is the body Weixin documents, in both directions; reading
/// refuses what breaks a rule and names every problem at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    grant: Grant,
    title: Title,
    content: Content,
    color: Option<Color>,
    jump: Option<TapTarget>,
}

impl Message {
    pub(crate) fn new(grant: Grant, title: Title, content: Content) -> Self {
        Self { grant, title, content, color: None, jump: None }
    }

    /// With the content in this colour.
    #[must_use]
    pub fn color(mut self, color: Color) -> Self {
        self.color = Some(color);
        self
    }

    /// With a place where a tap leads.
    #[must_use]
    pub fn jump(mut self, jump: impl Into<TapTarget>) -> Self {
        self.jump = Some(jump.into());
        self
    }

    /// The grant it spends.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Its title.
    #[must_use]
    pub fn title(&self) -> &Title {
        &self.title
    }

    /// Its text.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The colour of the text, if one was chosen.
    #[must_use]
    pub fn content_color(&self) -> Option<&Color> {
        self.color.as_ref()
    }

    /// Where a tap leads, if anywhere.
    #[must_use]
    pub fn tap_target(&self) -> Option<&TapTarget> {
        self.jump.as_ref()
    }

    /// Where a tap leads on clients that cannot open mini programs.
    #[must_use]
    pub fn tap_url(&self) -> Option<&HttpUrl> {
        self.jump.as_ref().and_then(TapTarget::url)
    }

    /// The body Weixin documents: raw UTF-8, absent fields absent.
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
