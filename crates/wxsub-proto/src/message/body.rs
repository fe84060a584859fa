//! Writing the JSON body that Weixin documents.

use serde::Serialize;

use super::{Color, Content, Message, PagePath, TapTarget, Title};
use crate::{AppId, HttpUrl, OpenId, Scene, TemplateId};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    touser: &'a OpenId,
    template_id: &'a TemplateId,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a HttpUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    miniprogram: Option<Page<'a>>,
    scene: Scene,
    title: &'a Title,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Page<'a> {
    appid: &'a AppId,
    pagepath: &'a PagePath,
}

#[derive(Serialize)]
struct Data<'a> {
    content: Text<'a>,
}

#[derive(Serialize)]
struct Text<'a> {
    value: &'a Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'a Color>,
}

impl<'a> Body<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        let page = message.tap_target.as_ref().and_then(TapTarget::mini_program);
        Self {
            touser: message.grant.openid(),
            template_id: message.grant.template_id(),
            url: message.tap_url(),
            miniprogram: page.map(|page| Page { appid: &page.appid, pagepath: &page.pagepath }),
            scene: message.grant.scene(),
            title: &message.title,
            data: Data { content: Text { value: &message.content, color: message.color.as_ref() } },
        }
    }
}
