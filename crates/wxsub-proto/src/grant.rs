//! The right to send one message.

use serde::{Deserialize, Serialize};

use crate::{Content, Message, OpenId, Scene, TemplateId, Title};

/// The right to send ONE message to a user: who, which template, which scene. A second consent for the same three adds
/// nothing. It comes from a verified answer; only a grant can be turned into a [`Message`].
///
/// Serde stores and loads it: what you wrote into your own database is trusted when it comes back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    openid: OpenId,
    template_id: TemplateId,
    scene: Scene,
}

impl Grant {
    /// A grant you vouch for yourself: loaded from your records, or from a flow that cannot be forged. For an answer
    /// that came through a browser or phone, verify it instead: its fields are anybody's claim.
    #[must_use]
    pub fn assume_verified(openid: OpenId, template_id: TemplateId, scene: Scene) -> Self {
        Self { openid, template_id, scene }
    }

    /// Who may be written to.
    #[must_use]
    pub fn openid(&self) -> &OpenId {
        &self.openid
    }

    /// With which template.
    #[must_use]
    pub fn template_id(&self) -> &TemplateId {
        &self.template_id
    }

    /// On which occasion.
    #[must_use]
    pub fn scene(&self) -> Scene {
        self.scene
    }

    /// The message to spend this grant on.
    #[must_use]
    pub fn message(self, title: Title, content: Content) -> Message {
        Message::new(self, title, content)
    }
}
