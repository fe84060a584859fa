//! The right to send one message.

use getset::{CopyGetters, Getters};
use serde::{Deserialize, Serialize};

use crate::validation::ErrorCollector;
use crate::{OpenId, Scene, TemplateId, ValidationError, ValidationErrors};

/// The right to send ONE message: user, template and scene. A second consent for the same three adds nothing. A grant
/// comes from a verified callback. Only a grant can become a [`Message`](crate::Message).
///
/// Serde stores and loads it. A grant from your own database counts as verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, CopyGetters, Getters)]
pub struct Grant {
    /// The user who may receive the message.
    #[getset(get = "pub")]
    openid: OpenId,
    /// The template of the message.
    #[getset(get = "pub")]
    template_id: TemplateId,
    /// The scene of the consent.
    #[getset(get_copy = "pub")]
    scene: Scene,
}

impl Grant {
    /// A grant without verification: loaded from your records, or from a flow that cannot be forged. Verify a callback
    /// that came through a browser or phone instead; an attacker can write its fields.
    ///
    /// ```
    /// use wxsub_proto::Grant;
    ///
    /// let grant = Grant::assume_verified("OPENID", "TEMPLATE_ID", 1000)?;
    /// assert_eq!(grant.scene().get(), 1000);
    ///
    /// let error = Grant::assume_verified("", "TEMPLATE_ID", "01000").unwrap_err();
    /// assert_eq!(error.iter().map(|problem| problem.field()).collect::<Vec<_>>(), ["openid", "scene"]);
    /// # Ok::<(), wxsub_proto::ValidationErrors>(())
    /// ```
    ///
    /// # Errors
    /// [`ValidationErrors`]: every value that breaks a rule.
    pub fn assume_verified(
        openid: impl TryInto<OpenId, Error: Into<ValidationError>>,
        template_id: impl TryInto<TemplateId, Error: Into<ValidationError>>,
        scene: impl TryInto<Scene, Error: Into<ValidationError>>,
    ) -> Result<Self, ValidationErrors> {
        let mut errors = ErrorCollector::default();
        let openid = errors.keep(openid.try_into());
        let template_id = errors.keep(template_id.try_into());
        let scene = errors.keep(scene.try_into());
        let grant = openid.zip(template_id).zip(scene);
        errors.finish(grant.map(|((openid, template_id), scene)| Self::new(openid, template_id, scene)))
    }

    pub(crate) fn new(openid: OpenId, template_id: TemplateId, scene: Scene) -> Self {
        Self { openid, template_id, scene }
    }
}
