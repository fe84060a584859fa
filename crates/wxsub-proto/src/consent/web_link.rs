use std::fmt;

use super::ConsentRequest;
use crate::codec::encode_component;
use crate::{BaseUrl, HttpUrl};

/// `GET https://mp.weixin.qq.com/mp/subscribemsg`: the consent page of Official Accounts. It opens inside Weixin only.
///
/// The parameters stand in the documented order, `redirect_url` is encoded exactly once, and the fragment is part of it.
///
/// <https://developers.weixin.qq.com/doc/service/en/Message_Management/One-time_subscription_info.html>
///
/// ```
/// use wxsub_proto::{ConsentRequest, HttpUrl, Scene};
///
/// let request = ConsentRequest::new("wx0123456789abcdef".parse()?, "TEMPLATE".parse()?, Scene::new(7)?)
///     .reserved("proof".parse()?);
/// let back: HttpUrl = "https://shop.example/back?order=1".parse()?;
/// assert_eq!(
///     request.web_link(&back).to_string(),
///     "https://mp.weixin.qq.com/mp/subscribemsg?action=get_confirm&appid=wx0123456789abcdef&scene=7\
///      &template_id=TEMPLATE&redirect_url=https%3A%2F%2Fshop.example%2Fback%3Forder%3D1&reserved=proof#wechat_redirect"
/// );
/// # Ok::<(), wxsub_proto::Invalid>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct WebLink<'a> {
    request: &'a ConsentRequest,
    redirect_url: &'a HttpUrl,
    base: Option<&'a BaseUrl>,
}

impl<'a> WebLink<'a> {
    /// The path of the page.
    pub const PATH: &'static str = "/mp/subscribemsg";

    pub(super) fn new(request: &'a ConsentRequest, redirect_url: &'a HttpUrl) -> Self {
        Self { request, redirect_url, base: None }
    }

    /// On another host than `https://mp.weixin.qq.com`: a sandbox.
    #[must_use]
    pub fn on(mut self, base: &'a BaseUrl) -> Self {
        self.base = Some(base);
        self
    }
}

impl fmt::Display for WebLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConsentRequest { appid, scene, template_id, reserved } = self.request;
        let base = self.base.map_or(BaseUrl::MP, BaseUrl::as_str);
        let redirect_url = encode_component(self.redirect_url.as_str());
        write!(f, "{base}{}?action=get_confirm&appid={appid}&scene={scene}", Self::PATH)?;
        write!(f, "&template_id={template_id}&redirect_url={redirect_url}")?;
        if let Some(reserved) = reserved {
            write!(f, "&reserved={reserved}")?;
        }
        f.write_str("#wechat_redirect")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_in_the_documented_order() {
        let request = ConsentRequest::new("wx1".parse().unwrap(), "T".parse().unwrap(), "7".parse().unwrap());
        let back: HttpUrl = "https://a/?b=%20".parse().unwrap();
        assert_eq!(
            request.web_link(&back).on(&BaseUrl::new("http://127.0.0.1:1").unwrap()).to_string(),
            "http://127.0.0.1:1/mp/subscribemsg?action=get_confirm&appid=wx1&scene=7&template_id=T\
             &redirect_url=https%3A%2F%2Fa%2F%3Fb%3D%2520#wechat_redirect"
        );
    }
}
