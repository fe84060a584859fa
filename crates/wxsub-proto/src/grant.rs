//! The right to send one message.

use serde::{Deserialize, Serialize};

use crate::{Content, Message, OpenId, Scene, TemplateId, Title};

/// The right to send ONE message: user, template and scene. A second consent for the same three adds nothing. A grant
/// comes from a verified callback. Only a grant can become a [`Message`].
///
/// Serde stores and loads it. A grant from your own database counts as verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    openid: OpenId,
    template_id: TemplateId,
    scene: Scene,
}

impl Grant {
    /// A grant without verification: loaded from your records, or from a flow that cannot be forged. Verify a callback
    /// that came through a browser or phone instead; an attacker can write its fields.
    #[must_use]
    pub fn assume_verified(openid: OpenId, template_id: TemplateId, scene: Scene) -> Self {
        Self { openid, template_id, scene }
    }

    /// The user who may receive the message.
    #[must_use]
    pub fn openid(&self) -> &OpenId {
        &self.openid
    }

    /// The template of the message.
    #[must_use]
    pub fn template_id(&self) -> &TemplateId {
        &self.template_id
    }

    /// The scene of the consent.
    #[must_use]
    pub fn scene(&self) -> Scene {
        self.scene
    }

    /// Makes the message that uses this grant.
    #[must_use]
    pub fn message(self, title: Title, content: Content) -> Message {
        Message::new(self, title, content)
    }
}
