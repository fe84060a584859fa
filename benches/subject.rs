//! The message that all contenders send.

use wxsub_core::proto::endpoint::subscribe;
use wxsub_core::proto::{AccessToken, AppId, AppSecret, BaseUrl, Grant, Message};

/// A token as long as real ones.
pub const TOKEN: &str = "81_aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-\
    aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-aZ09_-";

/// The AppID.
pub fn app() -> AppId {
    "wx0123456789abcdef".parse().unwrap()
}

/// The AppSecret.
pub fn secret() -> AppSecret {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

/// The message.
pub fn message() -> Message {
    let openid = "oABCDEFGHIJKLMNOPQRSTUVWXYZ0";
    let template = "abcdefghijklmnopqrstuvwxyz_0123456789-ABCDE";
    let grant = Grant::assume_verified(openid, template, 1000).unwrap();
    Message::builder(grant)
        .title("快递到了")
        .content("您的包裹已到达。\n请于今日内领取，取件码 1234。")
        .build()
        .unwrap()
}

/// URL and body of its request.
pub fn written(base: &BaseUrl) -> (String, Vec<u8>) {
    let token = AccessToken::new(TOKEN).unwrap();
    let message = message();
    let request = subscribe::request(&token, &message);
    (request.url(base), request.into_body())
}
