//! The request for consent, and the URL of the page that asks for it.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};

use crate::codec::percent_encode;
use crate::validation::{ErrorCollector, check_charset, check_length, validated_string};
use crate::{
    AppId, BaseUrl, HttpUrl, LocalizedText, Scene, TemplateId, ValidationError, ValidationErrorKind,
    ValidationErrors,
};

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
    /// [`ValidationErrorKind::CallbackParameter`] if `redirect_url` has a parameter that is named like one of the
    /// callback's: `openid`, `template_id`, `action`, `scene` or `reserved`.
    pub fn consent_url<'a>(&'a self, redirect_url: &'a HttpUrl) -> Result<ConsentUrl<'a>, ValidationError> {
        match callback_parameter(redirect_url.as_str()) {
            Some(name) => {
                Err(ValidationError::new("redirect_url", ValidationErrorKind::CallbackParameter { name }))
            }
            None => Ok(ConsentUrl { request: self, redirect_url, base: None }),
        }
    }
}

// Serde hands over a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
pub(super) fn as_number<S: Serializer>(scene: &Scene, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(scene.get())
}

validated_string!(
    /// The value of a request that the callback returns unchanged: the protection against forged callbacks. 1 to 128 of
    /// `[a-zA-Z0-9]`. Weixin's mobile SDK does not check it.
    ///
    /// An unset `reserved` can come back as the text `null`; a [`ConsentCallback`](super::ConsentCallback) reads that as
    /// absent. The value `null` itself is therefore refused.
    Reserved,
    |text| {
        check_charset("reserved", text, LocalizedText::new("letters and digits", "字母和数字"), |c| c.is_ascii_alphanumeric())?;
        check_length("reserved", text, 128)?;
        match text {
            "null" => {
                let expected = LocalizedText::new("something else than the text null, which Weixin sends for an unset value", "不是文本 null（未设置时微信返回的就是 null）");
                Err(ValidationError::invalid_format("reserved", expected))
            }
            _ => Ok(()),
        }
    }
);

/// `GET https://mp.weixin.qq.com/mp/subscribemsg`: the consent page of Official Accounts. It opens inside Weixin only.
///
/// The parameters have the documented order. `redirect_url` is encoded exactly once. The fragment is part of the URL.
///
/// <https://developers.weixin.qq.com/doc/service/en/Message_Management/One-time_subscription_info.html>
///
/// ```
/// use wxsub_proto::{ConsentRequest, HttpUrl};
///
/// let request = ConsentRequest::new("wx0123456789abcdef", "TEMPLATE", 7)?.reserved("proof")?;
/// let back: HttpUrl = "https://shop.example/back?order=1".parse()?;
/// assert_eq!(
///     request.consent_url(&back)?.to_string(),
///     "https://mp.weixin.qq.com/mp/subscribemsg?action=get_confirm&appid=wx0123456789abcdef&scene=7\
///      &template_id=TEMPLATE&redirect_url=https%3A%2F%2Fshop.example%2Fback%3Forder%3D1&reserved=proof#wechat_redirect"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, derive_setters::Setters)]
#[setters(generate = false)]
pub struct ConsentUrl<'a> {
    request: &'a ConsentRequest,
    redirect_url: &'a HttpUrl,
    /// On another host than `https://mp.weixin.qq.com`: a sandbox.
    #[setters(generate, rename = "with_base_url", strip_option)]
    base: Option<&'a BaseUrl>,
}

impl ConsentUrl<'_> {
    /// The path of the page.
    pub const PATH: &'static str = "/mp/subscribemsg";
}

impl fmt::Display for ConsentUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConsentRequest { appid, scene, template_id, reserved } = self.request;
        let base = self.base.map_or(BaseUrl::MP, BaseUrl::as_str);
        let redirect_url = percent_encode(self.redirect_url.as_str());
        write!(f, "{base}{}?action=get_confirm&appid={appid}&scene={scene}", Self::PATH)?;
        write!(f, "&template_id={template_id}&redirect_url={redirect_url}")?;
        if let Some(reserved) = reserved {
            write!(f, "&reserved={reserved}")?;
        }
        f.write_str("#wechat_redirect")
    }
}

/// The parameter of the callback that this URL already has, in any spelling that a parser may accept.
fn callback_parameter(url: &str) -> Option<&'static str> {
    let (_, query) = url.split('#').next()?.split_once('?')?;
    // Some parsers split at `;`, too.
    query.split(['&', ';']).find_map(|pair| {
        let name = pair.split('=').next()?.replace('+', " ");
        let name = percent_decode_str(&name).decode_utf8_lossy().to_ascii_lowercase();
        // PHP reads `a.b` and `a b` as `a_b`, and `a[]` as a list `a`.
        let name = name.split('[').next()?.trim().replace(['.', ' '], "_");
        // The mobile SDKs write templateId.
        CALLBACK_FIELDS.into_iter().find(|field| *field == name || field.replace('_', "") == name)
    })
}

/// The names of the fields of a callback.
pub(super) const CALLBACK_FIELDS: [&str; 5] = ["openid", "template_id", "action", "scene", "reserved"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_url_with_a_parameter_of_the_callback_is_refused() {
        let request = ConsentRequest::new("wx1", "T", 7).unwrap();
        for (query, name) in [
            ("scene=1", "scene"),
            ("x=1&action=buy", "action"),
            ("openid=o", "openid"),
            ("reserved", "reserved"),
            ("template_id=T", "template_id"),
            ("templateId=T", "template_id"),
            ("openId=o", "openid"),
            ("SCENE=1", "scene"),
            ("%73cene=1", "scene"),
            ("s%63ene%3d=1&%53cene=2", "scene"),
            ("x=1;scene=2", "scene"),
            ("x=1&amp;scene=2", "scene"),
            ("scene[]=1", "scene"),
            ("scene%5Ba%5D=1", "scene"),
            ("template.id=1", "template_id"),
            ("template+id=1", "template_id"),
            ("%ff=1&+scene=1", "scene"),
        ] {
            let back: HttpUrl = format!("https://a.example/back?{query}#part").parse().unwrap();
            let refused = request.consent_url(&back).unwrap_err();
            assert_eq!(
                refused,
                ValidationError::new("redirect_url", ValidationErrorKind::CallbackParameter { name }),
                "{query}"
            );
        }
        for other in [
            "https://a.example/scene",
            "https://a.example/?x=scene",
            "https://a.example/?scenery=1&my_scene=1&appid=wx1",
            "https://a.example/?next=%3Fscene%3D1%26action%3Dbuy",
            "https://a.example/#/back?scene=1",
        ] {
            assert!(request.consent_url(&other.parse().unwrap()).is_ok(), "{other}");
        }
    }

    #[test]
    fn parameters_in_the_documented_order() {
        let request = ConsentRequest::new("wx1", "T", 7).unwrap();
        let back: HttpUrl = "https://a/?b=%20".parse().unwrap();
        assert_eq!(
            request
                .consent_url(&back)
                .unwrap()
                .with_base_url(&BaseUrl::new("http://127.0.0.1:1").unwrap())
                .to_string(),
            "http://127.0.0.1:1/mp/subscribemsg?action=get_confirm&appid=wx1&scene=7&template_id=T\
             &redirect_url=https%3A%2F%2Fa%2F%3Fb%3D%2520#wechat_redirect"
        );
    }

    #[test]
    fn reserved_has_letters_and_digits_and_is_not_null() {
        for good in ["a", "Hello123", &"z".repeat(128)] {
            assert!(Reserved::new(good).is_ok());
        }
        for bad in ["", "a-b", "a_b", "a b", "é", "null", &"z".repeat(129)] {
            assert!(Reserved::new(bad).is_err(), "{bad}");
        }
    }
}
