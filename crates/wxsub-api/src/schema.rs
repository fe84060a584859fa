//! Descriptions for the OpenAPI document, of what `wxsub-proto` reads and writes. The members of a message are `KNOWN` in
//! `message/draft/names.rs` there.

use utoipa::ToSchema;

/// A message in Weixin's field names, for the OpenAPI document. `wxsub-proto` parses it.
#[derive(Debug, ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "a description only")]
pub struct SendMessageRequest {
    #[schema(max_length = 128)]
    touser: String,
    #[schema(max_length = 128)]
    template_id: String,
    #[schema(minimum = 0, maximum = 10_000)]
    scene: u32,
    #[schema(min_length = 1, max_length = 15)]
    title: String,
    data: SendMessageData,
    url: Option<String>,
    miniprogram: Option<SendMessagePage>,
}

#[derive(Debug, ToSchema)]
#[schema(as = MessageData)]
#[expect(dead_code, reason = "a description only")]
struct SendMessageData {
    content: SendMessageContent,
}

#[derive(Debug, ToSchema)]
#[schema(as = MessageContent)]
#[expect(dead_code, reason = "a description only")]
struct SendMessageContent {
    #[schema(min_length = 1, max_length = 200)]
    value: String,
    #[schema(pattern = "^#[0-9A-Fa-f]{6}$")]
    color: Option<String>,
}

#[derive(Debug, ToSchema)]
#[schema(as = MessagePage)]
#[expect(dead_code, reason = "a description only")]
struct SendMessagePage {
    appid: String,
    pagepath: String,
}

/// The wire names of [`Operation`], for the OpenAPI document.
#[derive(ToSchema)]
#[schema(as = Stage, rename_all = "snake_case")]
#[expect(dead_code, reason = "a description only")]
pub(crate) enum StageName {
    Token,
    Send,
}

/// The wire names of [`Remedy`], for the OpenAPI document.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a description only")]
pub(crate) enum RemedyName {
    RefreshToken,
    RetryLater,
    SlowDown,
    FixRequest,
    FixConfig,
    AllowIp,
    Stop,
    Investigate,
}
