//! `POST /cgi-bin/message/template/subscribe`: sends one message and uses up one grant.

use std::str::FromStr;

use serde_json::{Map, Value, json};
use wxsub_proto::endpoint::subscribe::PATH;
use wxsub_proto::{Color, ErrCode, Grant, HttpUrl, OpenId, Scene, TemplateId};

use super::call::Call;
use crate::api_error::ApiError;
use crate::app::{App, CallLimits};
use crate::state::Effect;

const MAX_TITLE_CHARS: usize = 15;
const MAX_CONTENT_CHARS: usize = 200;

const INVALID_SCENE: ErrCode = ErrCode::new(40129);
const INVALID_PAGEPATH: ErrCode = ErrCode::new(40165);
const INVALID_MINI_PROGRAM: ErrCode = ErrCode::new(40166);

pub(super) fn decide(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.require_post()?;
    let (appid, app) = call.authenticate()?;
    let limits = CallLimits { per_minute: app.settings.minute_limit, per_day: app.settings.send_quota };
    call.check_quota(appid, app, PATH, limits)?;
    let message = SubscribeBody::parse(call.body()?, app)?;
    let grant = Grant::assume_verified(message.touser, message.template_id, message.scene)
        .map_err(|_| ErrCode::USER_REFUSED)?;
    let grant = (appid.clone(), grant);
    // The grant is checked last, after everything else.
    if !call.state.grants.contains(&grant) {
        return Err(ErrCode::USER_REFUSED.into());
    }
    call.effects.push(Effect::DeliverMessage { grant, body: message.body });
    Ok(json!({"errcode": 0, "errmsg": "ok"}))
}

/// A valid message. Unknown members stay in `body`.
struct SubscribeBody {
    touser: OpenId,
    template_id: TemplateId,
    scene: Scene,
    body: Map<String, Value>,
}

impl SubscribeBody {
    /// Parses and checks a body for this app. Weixin does not document in which order it checks the fields.
    fn parse(body: &[u8], app: &App) -> Result<Self, ApiError> {
        let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| ErrCode::DATA_FORMAT)?;
        let fields = BodyFields(&body);
        let touser = fields.parse_field("touser").ok_or(ErrCode::INVALID_OPENID)?;
        let template_id: Option<TemplateId> = fields.parse_field("template_id");
        let template_id = template_id.filter(|template| app.templates.contains(template));
        let template_id = template_id.ok_or(ErrCode::INVALID_TEMPLATE_ID)?;
        let scene = fields.scene().ok_or(INVALID_SCENE)?;
        fields.check_text()?;
        fields.check_tap_target()?;
        Ok(Self { touser, template_id, scene, body })
    }
}

struct BodyFields<'a>(&'a Map<String, Value>);

impl<'a> BodyFields<'a> {
    /// The value at a dotted path. An empty value counts as absent, because many SDKs cannot omit a member.
    fn get(&self, path: &str) -> Option<&'a Value> {
        let mut names = path.split('.');
        let first = self.0.get(names.next()?);
        let value = names.fold(first, |value, name| value?.get(name));
        value.filter(|value| !is_empty(value))
    }

    /// The text at a dotted path.
    fn text(&self, path: &str) -> Option<&'a str> {
        self.get(path)?.as_str()
    }

    fn parse_field<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The scene, from a text or an integer.
    fn scene(&self) -> Option<Scene> {
        match self.get("scene")? {
            Value::String(text) => text.parse().ok(),
            other => Scene::try_from(other.as_u64()?).ok(),
        }
    }

    /// Checks title, content and its color. Limits are in characters, not bytes.
    fn check_text(&self) -> Result<(), ApiError> {
        let title = self.text("title").unwrap_or_default();
        if !(1..=MAX_TITLE_CHARS).contains(&title.chars().count()) {
            return Err(ErrCode::INVALID_TITLE_SIZE.into());
        }
        let content = self.text("data.content.value").unwrap_or_default();
        match content.chars().count() {
            // The spelling is Weixin's.
            0 => return Err(invalid_argument("data.content.value is emtpy")),
            1..=MAX_CONTENT_CHARS => {}
            _ => return Err(invalid_argument("data.content.value invalid")),
        }
        let is_color = |color: &Value| color.as_str().is_some_and(|text| text.parse::<Color>().is_ok());
        match self.get("data.content.color") {
            Some(color) if !is_color(color) => Err(invalid_argument("data.content.color invalid")),
            _ => Ok(()),
        }
    }

    /// Checks `url` and `miniprogram`, which say what a tap opens.
    fn check_tap_target(&self) -> Result<(), ApiError> {
        if self.text("url").is_some_and(|url| HttpUrl::new(url).is_err()) {
            return Err(ErrCode::INVALID_URL.into());
        }
        match self.get("miniprogram") {
            None => Ok(()),
            Some(_) if self.text("miniprogram.appid").is_none() => Err(INVALID_MINI_PROGRAM.into()),
            Some(_) if self.text("miniprogram.pagepath").is_none() => Err(INVALID_PAGEPATH.into()),
            Some(_) => Ok(()),
        }
    }
}

/// `null`, `""`, `[]`, `{}`, or a list or an object of only such values.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(members) => members.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn invalid_argument(what: &str) -> ApiError {
    ApiError::new(ErrCode::ARGUMENT_INVALID, format!("argument invalid! {what}"))
}
