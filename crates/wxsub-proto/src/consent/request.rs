use serde::{Serialize, Serializer};

use super::{ConsentUrl, Reserved};
use crate::validation::ErrorCollector;
use crate::{AppId, HttpUrl, Scene, TemplateId, ValidationError, ValidationErrors};

/// A request for consent to one message. As JSON (`{"appid","scene":1000,"template_id","reserved"}`) it holds the values
/// for the mobile SDK: `SubscribeMessage.Req` on Android, `WXSubscribeMsgReq` on iOS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "Weixin documents these four")]
pub struct ConsentRequest {
    /// The app that asks for consent.
    pub appid: AppId,
    /// The scene. The mobile SDKs take a number.
    #[serde(serialize_with = "as_number")]
    pub scene: Scene,
    /// The template of the message to come.
    pub template_id: TemplateId,
    /// The value that the callback returns as proof. Without it a forged callback cannot be detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
}

impl ConsentRequest {
    /// A request without `reserved`. Add a [`Reserved`] of your own, or let a consent verifier issue the request.
    ///
    /// # Errors
    /// [`ValidationErrors`]: every value that breaks a rule.
    pub fn new(
        appid: impl TryInto<AppId, Error: Into<ValidationError>>,
        template_id: impl TryInto<TemplateId, Error: Into<ValidationError>>,
        scene: impl TryInto<Scene, Error: Into<ValidationError>>,
    ) -> Result<Self, ValidationErrors> {
        let mut errors = ErrorCollector::default();
        let appid = errors.keep(appid.try_into());
        let template_id = errors.keep(template_id.try_into());
        let scene = errors.keep(scene.try_into());
        let request = appid.zip(template_id).zip(scene).map(|((appid, template_id), scene)| Self {
            appid,
            scene,
            template_id,
            reserved: None,
        });
        errors.finish(request)
    }

    /// Sets the value that the callback must return.
    ///
    /// # Errors
    /// [`ValidationError`] if `reserved` is a text that breaks a rule of [`Reserved`].
    pub fn reserved(
        mut self,
        reserved: impl TryInto<Reserved, Error: Into<ValidationError>>,
    ) -> Result<Self, ValidationError> {
        self.reserved = Some(reserved.try_into().map_err(Into::into)?);
        Ok(self)
    }

    /// The page to open inside Weixin (Official Accounts). It redirects the user to `redirect_url` with the callback.
    ///
    /// # Errors
    /// [`CallbackParameter`](crate::ValidationErrorKind::CallbackParameter) if `redirect_url` has a parameter that is
    /// named like one of the callback's: `openid`, `template_id`, `action`, `scene` or `reserved`.
    pub fn consent_url<'a>(&'a self, redirect_url: &'a HttpUrl) -> Result<ConsentUrl<'a>, ValidationError> {
        ConsentUrl::new(self, redirect_url)
    }
}

// Serde hands over a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn as_number<S: Serializer>(scene: &Scene, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(scene.get())
}
