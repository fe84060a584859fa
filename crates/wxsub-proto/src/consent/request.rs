use serde::{Serialize, Serializer};

use super::{ConsentUrl, Reserved};
use crate::{AppId, HttpUrl, Scene, TemplateId, ValidationError};

/// What the user is asked to confirm. As JSON (`{"appid","scene":1000,"template_id","reserved"}`) it holds the values a
/// phone needs for the mobile SDK: `SubscribeMessage.Req` on Android, `WXSubscribeMsgReq` on iOS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConsentRequest {
    /// The app that asks.
    pub appid: AppId,
    /// The occasion. The mobile SDKs take a number.
    #[serde(serialize_with = "as_number")]
    pub scene: Scene,
    /// The template of the message to come.
    pub template_id: TemplateId,
    /// The proof that comes back with the answer. Without one an answer cannot be told from a forged one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
}

impl ConsentRequest {
    /// Asks for the right to send one message. Add a [`Reserved`] of your own, or let a consent guard issue the request.
    #[must_use]
    pub fn new(appid: AppId, template_id: TemplateId, scene: Scene) -> Self {
        Self { appid, scene, template_id, reserved: None }
    }

    /// With the value that must come back.
    #[must_use]
    pub fn reserved(mut self, reserved: Reserved) -> Self {
        self.reserved = Some(reserved);
        self
    }

    /// The page to open inside Weixin (Official Accounts), which sends the user back to `redirect_url` with the answer.
    ///
    /// # Errors
    /// [`ValidationErrorKind::CallbackParameter`](crate::ValidationErrorKind::CallbackParameter) if `redirect_url` has a parameter that is named like
    /// one of the callback's: `openid`, `template_id`, `action`, `scene` or `reserved`.
    pub fn web_link<'a>(&'a self, redirect_url: &'a HttpUrl) -> Result<ConsentUrl<'a>, ValidationError> {
        ConsentUrl::new(self, redirect_url)
    }
}

// Serde hands over a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn as_number<S: Serializer>(scene: &Scene, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(scene.get())
}
