//! What SDKs post that cannot run here: bodies as their public source makes them. Each is sent, with and without a mini
//! program, through the control server and by Weixin itself.

use serde_json::Value;
use wxsub_core::proto::codec::{QueryPair, Request};
use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::endpoint::token::TokenRequest;
use wxsub_core::proto::{AppSecret, BaseUrl};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_reqwest::ReqwestTransport;
use wxsub_tests::{app, template};

use super::setup::{Setup, USER, key};

/// What the SDK is given, the body it posts for scene 1, and the mini program that reaches the user.
type Body = (&'static str, &'static str, Option<&'static str>);

/// EasyWeChat 5: `sendSubscription` in src/OfficialAccount/TemplateMessage/Client.php. The message is merged into defaults
/// with `url` and `miniprogram` as empty text; an empty value becomes its default again; PHP escapes `/`.
const EASYWECHAT_5: [Body; 4] = [
    (
        "neither url nor mini program",
        r#"{"touser":"oUser","template_id":"TEMPLATE","url":"","data":{"content":{"value":"包裹到了"}},"miniprogram":"","scene":"1","title":"包裹"}"#,
        None,
    ),
    (
        "a url, a colour and a scene as a number",
        r##"{"touser":"oUser","template_id":"TEMPLATE","url":"https:\/\/shop.example\/o?a=1&b=2","data":{"content":{"value":"包裹\n到了","color":"#FF0000"}},"miniprogram":"","scene":1,"title":"包裹"}"##,
        None,
    ),
    (
        "a mini program",
        r#"{"touser":"oUser","template_id":"TEMPLATE","url":"","data":{"content":{"value":"包裹到了"}},"miniprogram":{"appid":"wx2","pagepath":"pages\/order?id=7"},"scene":"1","title":"包裹"}"#,
        Some("wx2"),
    ),
    (
        "a mini program without values, and an empty colour",
        r#"{"touser":"oUser","template_id":"TEMPLATE","url":"","data":{"content":{"value":"包裹到了","color":""}},"miniprogram":{"appid":"","pagepath":""},"scene":"1","title":"包裹"}"#,
        None,
    ),
];

/// EasyWeChat 4.0, the same file: it has no default for `miniprogram`, so that an empty one becomes null.
const EASYWECHAT_4: [Body; 1] = [(
    "an empty mini program",
    r#"{"touser":"oUser","template_id":"TEMPLATE","url":"","data":{"content":{"value":"包裹到了"}},"miniprogram":null,"scene":"1","title":"包裹"}"#,
    None,
)];

/// PowerWeChat 3: RequestTemlateMessageSubscribe in src/officialAccount/templateMessage/request/requestTemplateMessage.go.
/// No member is omitted; Go escapes `&`.
const POWERWECHAT_3: [Body; 3] = [
    (
        "no mini program",
        r#"{"touser":"oUser","template_id":"TEMPLATE","url":"","miniprogram":null,"scene":"1","title":"包裹","data":{"content":{"color":"","value":"包裹到了"}}}"#,
        None,
    ),
    (
        "a mini program and a url",
        r##"{"touser":"oUser","template_id":"TEMPLATE","url":"https://shop.example/o?a=1\u0026b=2","miniprogram":{"appid":"wx2","pagepath":"pages/order"},"scene":"1","title":"包裹","data":{"content":{"color":"#FF0000","value":"包裹到了"}}}"##,
        Some("wx2"),
    ),
    (
        "a mini program without values",
        r#"{"touser":"oUser","template_id":"TEMPLATE","url":"","miniprogram":{"appid":"","pagepath":""},"scene":"1","title":"包裹","data":{"content":{"value":"包裹到了"}}}"#,
        None,
    ),
];

#[tokio::test]
async fn easywechat_5_sends_with_and_without_a_mini_program() {
    are_sent(&EASYWECHAT_5).await;
}

#[tokio::test]
async fn easywechat_4_sends_with_an_empty_mini_program() {
    are_sent(&EASYWECHAT_4).await;
}

#[tokio::test]
async fn powerwechat_3_sends_with_and_without_a_mini_program() {
    are_sent(&POWERWECHAT_3).await;
}

async fn are_sent(bodies: &[Body]) {
    let setup = Setup::start().await;
    let token = TokenRequest::new(app(), AppSecret::new(key()).unwrap());
    let token = answer(&setup.server, token.encode()).await;
    let token = token.get("access_token").and_then(Value::as_str).unwrap();
    for base in [&setup.server, &setup.weixin] {
        for (given, body, miniprogram) in bodies {
            let body = body.replace("TEMPLATE", template().as_str());
            setup.consent(USER, 1);
            let query = vec![QueryPair::secret("access_token", token)];
            let answered = answer(base, Request::post(subscribe::PATH, query, body.into())).await;
            assert_eq!(answered.get("errcode"), Some(&Value::from(0)), "{given}: {answered}");
            let received = setup.last_received();
            let arrived = received.pointer("/miniprogram/appid").and_then(Value::as_str);
            assert_eq!(arrived.filter(|appid| !appid.is_empty()), *miniprogram, "{given}");
        }
    }
}

async fn answer(base: &str, request: Request<'_>) -> Value {
    let base = BaseUrl::new(base).unwrap();
    let reply =
        ReqwestTransport::new().unwrap().execute(HttpRequest::new(&base, request).unwrap()).await.unwrap();
    serde_json::from_slice(reply.body.as_ref()).unwrap()
}
