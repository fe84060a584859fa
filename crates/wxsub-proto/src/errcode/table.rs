//! The table of error codes: one row per code, in ascending order. Each meaning is in English and in Chinese.

use super::Remedy::{AllowIp, FixConfig, FixRequest, Investigate, RefreshToken, RetryLater, SlowDown, Stop};
use super::{ErrCode, Operation, Remedy};
use crate::LocalizedText;

/// The meaning of a code on one kind of call, and its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrCodeMeaning {
    /// The meaning.
    pub meaning: LocalizedText,
    /// The remedy.
    pub remedy: Remedy,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrCodeInfo {
    /// The number.
    pub code: ErrCode,
    /// A short, stable, `snake_case` name.
    pub name: &'static str,
    /// The official page about the code.
    pub docs_url: &'static str,
    /// Meaning and remedy on a token call.
    pub on_token_call: ErrCodeMeaning,
    /// Meaning and remedy on a send.
    pub on_send: ErrCodeMeaning,
}

impl ErrCode {
    /// The row of the table; `None` for an unknown code.
    pub fn info(self) -> Option<&'static ErrCodeInfo> {
        ROWS.binary_search_by_key(&self, |info| info.code).ok().and_then(|at| ROWS.get(at))
    }

    /// A short, stable name in `snake_case`; `None` for a code outside the table.
    pub fn name(self) -> Option<&'static str> {
        self.info().map(|info| info.name)
    }

    /// The meaning of the code for this call.
    pub fn meaning(self, operation: Operation) -> LocalizedText {
        self.for_operation(operation).meaning
    }

    /// What to do about the code on this call.
    pub fn remedy(self, operation: Operation) -> Remedy {
        self.for_operation(operation).remedy
    }

    /// What to do about the code on this call, as one line for people: more exact than the advice of the remedy, where the code
    /// allows it.
    pub fn advice(self, operation: Operation) -> LocalizedText {
        match (self, operation) {
            (Self::DAILY_QUOTA, Operation::FetchToken) => LocalizedText::new(
                "wait until midnight in Beijing, when Weixin counts anew, or clear the app's quota in Weixin's console (at most \
                 ten times a month)",
                "请等到北京时间零点，届时微信重新计数；或在微信后台清零该应用的额度（每月最多十次）",
            ),
            (Self::DAILY_QUOTA, Operation::Send) => LocalizedText::new(
                "wait until midnight in Beijing, when Weixin counts anew, or clear the app's quota in Weixin's console (at most \
                 ten times a month). An outbox keeps its messages and tries one an hour; after the quota is cleared, \
                 `wxsub outbox resume` sends them at once",
                "请等到北京时间零点，届时微信重新计数；或在微信后台清零该应用的额度（每月最多十次）。发件箱中的消息会保留，\
                 每小时试发一条；额度清零后，运行 `wxsub outbox resume` 可立即继续发送",
            ),
            (Self::MINUTE_QUOTA, _) => LocalizedText::new(
                "wait a minute, and make fewer calls at once; an outbox waits and goes on by itself",
                "请一分钟后再试，并降低调用频率；发件箱会自动等待并继续发送",
            ),
            _ => self.remedy(operation).advice(),
        }
    }

    /// Every code in the table, in rising order.
    pub fn table() -> impl Iterator<Item = &'static ErrCodeInfo> {
        ROWS.iter()
    }

    fn for_operation(self, operation: Operation) -> ErrCodeMeaning {
        self.info().map_or(UNKNOWN, |info| match operation {
            Operation::FetchToken => info.on_token_call,
            Operation::Send => info.on_send,
        })
    }
}

/// For a code outside the table.
const UNKNOWN: ErrCodeMeaning = on(
    Investigate,
    "unknown to wxsub; look the number up in Weixin's documentation and keep the trace id",
    "wxsub 未收录该错误码；请查阅微信官方文档，并保留 rid",
);

const NOT_ON_TOKEN_CALL: ErrCodeMeaning = on(
    Investigate,
    "not documented for a token call",
    "官方文档中，获取 access_token 的接口没有列出该错误码",
);

/// A code with different meanings on a token call and on a send.
const fn row(
    code: i64,
    name: &'static str,
    docs_url: &'static str,
    on_token_call: ErrCodeMeaning,
    on_send: ErrCodeMeaning,
) -> ErrCodeInfo {
    ErrCodeInfo { code: ErrCode::new(code), name, docs_url, on_token_call, on_send }
}

/// A code with the same meaning on both calls.
const fn both(
    code: i64,
    name: &'static str,
    docs_url: &'static str,
    remedy: Remedy,
    english: &'static str,
    chinese: &'static str,
) -> ErrCodeInfo {
    let meaning = on(remedy, english, chinese);
    row(code, name, docs_url, meaning, meaning)
}

/// A code that does not occur on a token call.
const fn send(
    code: i64,
    name: &'static str,
    docs_url: &'static str,
    remedy: Remedy,
    english: &'static str,
    chinese: &'static str,
) -> ErrCodeInfo {
    row(code, name, docs_url, NOT_ON_TOKEN_CALL, on(remedy, english, chinese))
}

const fn on(remedy: Remedy, english: &'static str, chinese: &'static str) -> ErrCodeMeaning {
    ErrCodeMeaning { meaning: LocalizedText::new(english, chinese), remedy }
}

#[rustfmt::skip]
const ROWS: [ErrCodeInfo; 94] = [
    // Zero and below.
    both(-1000, "system_error", docs::TROUBLESHOOTING, RetryLater,
        "an internal error of Weixin, which does not document it",
        "微信内部错误；官方文档没有说明该错误码"),
    row(-1, "system_busy", docs::SEND,
        on(RetryLater, "Weixin is busy",
                       "微信系统繁忙"),
        on(RetryLater, "Weixin is busy; if this continues, check template and body",
                       "微信系统繁忙；如果持续出现，请检查模板和请求体")),
    both(0, "ok", docs::SEND, Investigate,
        "no error; wxsub never treats it as a refusal",
        "请求成功，不是错误；wxsub 不会把它当成失败"),
    // 40000 to 40999: invalid values.
    row(40001, "invalid_credential", docs::TOKEN,
        on(FixConfig, "the AppSecret is wrong, or belongs to another AppID",
                      "AppSecret 错误，或与 AppID 不匹配"),
        on(RefreshToken, "the access token is not this app's latest; a later fetch replaced it",
                         "access_token 已被覆盖：之后又有程序重新获取过该应用的 access_token")),
    both(40002, "invalid_grant_type", docs::TOKEN, FixRequest,
        "grant_type must be client_credential",
        "grant_type 必须为 client_credential"),
    send(40003, "invalid_openid", docs::SEND, FixRequest,
        "the openid does not exist, or belongs to another app",
        "openid 不存在，或属于其他应用"),
    send(40008, "invalid_message_type", docs::CODES, FixRequest,
        "the message type does not exist",
        "消息类型不存在"),
    row(40013, "invalid_appid", docs::TOKEN,
        on(FixConfig, "the AppID does not exist",
                      "AppID 不存在"),
        on(FixConfig, "the AppID of this call does not exist, or does not match the account",
                      "本次调用对应的 AppID 不存在，或与账号不匹配")),
    row(40014, "invalid_access_token", docs::CODES,
        on(Investigate, "a token call has no access token; something changed the request in transit",
                        "获取 access_token 时本不需要带 access_token；请求可能在传输途中被改动"),
        on(RefreshToken, "Weixin did not issue this access token",
                         "access_token 不合法，不是微信签发的")),
    both(40033, "invalid_charset", docs::CODES, FixRequest,
        "the body has \\uXXXX escapes; send raw UTF-8",
        "请求体中有 \\uXXXX 转义；请直接用 UTF-8 编码发送，不要转义"),
    both(40035, "invalid_args_size", docs::CODES, FixRequest,
        "a parameter has an invalid length",
        "有参数的长度不合法"),
    send(40036, "invalid_template_id_size", docs::CODES, FixRequest,
        "the template_id has an invalid length; usually it is empty",
        "template_id 长度不合法，通常是没有填写"),
    send(40037, "invalid_template_id", docs::SEND, FixConfig,
        "the template belongs to another account, or to another kind of message",
        "模板属于其他账号，或属于其他类型的消息"),
    send(40039, "invalid_url_size", docs::CODES, FixRequest,
        "the URL of the message is too long",
        "消息的链接超过长度限制"),
    send(40048, "invalid_url_domain", docs::CODES, FixConfig,
        "the domain of the URL is not registered for this app",
        "链接的域名没有在该应用的后台登记"),
    send(40062, "invalid_title_size", docs::SEND, FixRequest,
        "the title is empty or longer than 15 characters",
        "标题为空，或超过 15 个字"),
    both(40066, "invalid_url", docs::CODES, FixRequest,
        "the URL is malformed, or Weixin has no endpoint with the path of this call",
        "链接格式错误，或请求的接口路径不存在"),
    both(40097, "invalid_args", docs::CODES, FixRequest,
        "a parameter is invalid; the text does not say which",
        "有参数不合法；errmsg 没有说明是哪一个"),
    both(40125, "invalid_appsecret", docs::TOKEN, FixConfig,
        "the AppSecret is wrong; it may have been reset",
        "AppSecret 错误，可能已被重置"),
    send(40129, "invalid_scene", docs::CODES, FixRequest,
        "Weixin does not accept this scene",
        "scene 的值不合法"),
    both(40164, "ip_not_allowed", docs::ALLOW_LIST, AllowIp,
        "the calling IP address, quoted in the text, is not on the app's IP allow-list",
        "调用方 IP（见 errmsg）不在该应用的 IP 白名单中"),
    send(40165, "invalid_pagepath", docs::CODES, FixRequest,
        "the mini program has no such page",
        "小程序中没有该页面"),
    send(40166, "invalid_miniprogram_appid", docs::CODES, FixConfig,
        "the mini program does not exist, or is not linked to this account",
        "小程序不存在，或未与该账号关联"),
    both(40234, "invalid_signature", docs::SIGNATURE, FixConfig,
        "the app requires signed calls, or the signature is wrong",
        "该应用已要求请求签名，但请求没有签名，或签名错误"),
    both(40243, "secret_frozen", docs::TOKEN, FixConfig,
        "the AppSecret is frozen; after you unfreeze it in the console, wait about ten minutes",
        "AppSecret 已被冻结；请在后台解冻，约 10 分钟后生效"),
    send(40249, "marketing_content", docs::CODES, FixRequest,
        "Weixin treats the message as marketing",
        "微信判定消息内容涉嫌营销"),
    // 41000 to 44999: missing values, expired tokens, wrong calls, missing consent.
    row(41001, "missing_access_token", docs::CODES,
        on(FixRequest, "the token call reached an endpoint that requires an access token; check host and path",
                       "请求发到了其他接口（需要带 access_token 的接口）；请检查域名和路径"),
        on(FixRequest, "the access token is missing from the query; Weixin ignores it in the body",
                       "URL 参数中缺少 access_token；放在请求体里无效")),
    both(41002, "missing_appid", docs::TOKEN, FixRequest,
        "the call has no appid",
        "缺少 appid 参数"),
    both(41004, "missing_secret", docs::TOKEN, FixRequest,
        "the call has no secret",
        "缺少 secret 参数"),
    send(41006, "missing_media_id", docs::CODES, FixRequest,
        "a media_id is missing; one-time messages have none, so the call went to another endpoint",
        "缺少 media_id；一次性订阅消息没有这个参数，应该是调错了接口"),
    send(41009, "missing_openid", docs::CODES, FixRequest,
        "the message has no openid (touser)",
        "缺少接收者的 openid（touser）"),
    send(41010, "missing_url", docs::CODES, FixRequest,
        "the URL is missing",
        "缺少 url 参数"),
    row(42001, "access_token_expired", docs::CODES,
        on(Investigate, "a token call has no access token; something changed the request in transit",
                        "获取 access_token 时本不需要带 access_token；请求可能在传输途中被改动"),
        on(RefreshToken, "the access token has expired",
                         "access_token 已过期")),
    send(42007, "user_token_revoked", docs::CODES, FixRequest,
        "a web login token was used instead of the app's access token; it is invalid since the user changed the password",
        "误用了网页授权的 access_token，且它已因用户修改密码而失效"),
    both(43001, "require_get", docs::CODES, FixRequest,
        "the endpoint accepts only GET",
        "该接口只支持 GET 请求"),
    both(43002, "require_post", docs::STABLE_TOKEN, FixRequest,
        "the endpoint accepts only POST",
        "该接口只支持 POST 请求"),
    both(43003, "require_https", docs::CODES, FixRequest,
        "the endpoint requires HTTPS",
        "该接口只支持 HTTPS"),
    send(43004, "require_subscribe", docs::CODES, Stop,
        "only followers of the account can receive this, and the user is not a follower",
        "用户未关注该账号，无法接收"),
    send(43019, "user_blacklisted", docs::CODES, Stop,
        "the account has put this user on its blacklist",
        "该用户已被该账号拉黑"),
    send(43101, "user_refused", docs::CODES, Stop,
        "no consent left for this user, template and scene: refused, never given, or already used",
        "该用户对此模板和 scene 没有可用的授权：拒绝过、从未授权，或授权已用完"),
    send(43102, "not_subscription_template", docs::CODES, FixConfig,
        "the template is not a subscription message template",
        "该模板不是订阅消息模板"),
    send(43104, "appid_no_permission", docs::CODES, FixConfig,
        "the app has no permission for this kind of message",
        "该应用没有此类消息的发送权限"),
    send(43106, "template_adding_barred", docs::CODES, FixConfig,
        "the account is penalised and may not add templates",
        "该账号因违规被处罚，不能添加模板"),
    send(43116, "template_restricted", docs::CODES, FixConfig,
        "Weixin has restricted this template",
        "该模板已被微信限制使用"),
    both(44002, "empty_post_data", docs::CODES, FixRequest,
        "the POST request has no body",
        "POST 请求体为空"),
    // 45000 to 47999: values too long, calls too frequent, bodies that cannot be parsed.
    send(45002, "content_too_long", docs::CODES, FixRequest,
        "the content is too long",
        "正文超过长度限制"),
    send(45003, "title_too_long", docs::CODES, FixRequest,
        "the title is too long",
        "标题超过长度限制"),
    send(45004, "description_too_long", docs::CODES, FixRequest,
        "the description is too long",
        "描述超过长度限制"),
    send(45005, "url_too_long", docs::CODES, FixRequest,
        "the URL is too long",
        "链接超过长度限制"),
    row(45009, "daily_quota", docs::LIMITS,
        on(SlowDown, "the daily quota of token calls is used up; stable_token has its own, far larger quota",
                     "当日获取 access_token 的次数已达上限；stable_token 的额度另算，且高得多"),
        on(SlowDown, "the daily quota of this endpoint is used up",
                     "该接口当日调用次数已达上限")),
    both(45011, "minute_quota", docs::LIMITS, SlowDown,
        "too many calls within a minute; wait at least 60 seconds",
        "调用过于频繁，超过每分钟的次数上限；请至少等 60 秒再试"),
    send(45012, "template_too_long", docs::CODES, FixRequest,
        "the template exceeds its size limit",
        "模板超过大小限制"),
    send(45014, "template_message_too_long", docs::CODES, FixRequest,
        "the message with its values exceeds the size limit",
        "消息填入数据后超过大小限制"),
    send(45015, "reply_window_closed", docs::CODES, Investigate,
        "the 48 hours for customer-service messages are over; one-time messages have no such limit",
        "已超过客服消息的 48 小时时限；一次性订阅消息没有此限制"),
    both(45035, "client_ip_not_registered", docs::ALLOW_LIST, AllowIp,
        "the calling IP address is not registered for this app",
        "调用方 IP 未登记到该应用的 IP 白名单"),
    send(45047, "too_many_replies", docs::CODES, SlowDown,
        "too many customer-service messages",
        "客服消息下发条数超过上限"),
    send(45051, "invalid_link", docs::CODES, FixRequest,
        "the URL is invalid",
        "链接无效"),
    send(45082, "domain_without_filing", docs::CODES, FixConfig,
        "the domain of the URL has no ICP filing",
        "链接域名未完成 ICP 备案"),
    send(45093, "send_quota", docs::QUOTA, SlowDown,
        "the daily quota of messages is used up",
        "当日可发送的消息数已用完"),
    both(45102, "api_paused", docs::CODES, RetryLater,
        "Weixin has paused this endpoint temporarily",
        "该接口已被微信临时暂停"),
    send(45168, "blocked_keyword", docs::CODES, FixRequest,
        "the text contains a word that Weixin blocks",
        "内容包含被微信屏蔽的关键词"),
    both(45501, "api_blocked", docs::CODES, FixConfig,
        "Weixin has blocked this endpoint for the app",
        "该应用的此接口已被微信封禁"),
    send(46004, "user_not_found", docs::CODES, FixRequest,
        "the user does not exist",
        "用户不存在"),
    both(47001, "data_format", docs::CODES, FixRequest,
        "the body is not valid JSON",
        "请求体不是合法的 JSON"),
    both(47002, "escaped_text", docs::CODES, FixRequest,
        "the body has \\uXXXX escapes; send raw UTF-8",
        "请求体中有 \\uXXXX 转义；请直接用 UTF-8 编码发送，不要转义"),
    both(47003, "argument_invalid", docs::CODES, FixRequest,
        "a field is invalid; the text usually names the field",
        "有字段不合法；字段名一般见 errmsg"),
    // 48000 to 50999: permissions.
    row(48001, "api_unauthorized", docs::TROUBLESHOOTING,
        on(FixConfig, "this account may not fetch access tokens from this endpoint",
                      "该账号没有此接口的权限，不能获取 access_token"),
        on(FixConfig, "the app has no permission for this endpoint, or the token belongs to another kind of account",
                      "该应用没有此接口的权限，或 access_token 属于其他类型的账号")),
    send(48002, "user_blocks_messages", docs::CODES, Stop,
        "the user has blocked messages of this account",
        "用户已拒收该账号的消息"),
    both(48004, "api_forbidden", docs::CODES, FixConfig,
        "Weixin has blocked the endpoint because of a violation; the console has the reason",
        "该接口因违规被微信封禁；原因见微信后台"),
    both(48006, "clear_quota_limit", docs::LIMITS, SlowDown,
        "the monthly number of quota resets is used up",
        "本月的调用次数清零机会已用完"),
    send(48008, "message_type_unauthorized", docs::CODES, FixConfig,
        "the app may not send this type of message",
        "该应用没有此类消息的发送权限"),
    send(48011, "template_disabled", docs::CODES, FixConfig,
        "the template is disabled",
        "模板已被停用"),
    send(49003, "openid_appid_mismatch", docs::CODES, FixRequest,
        "the openid belongs to another app",
        "openid 属于其他应用"),
    both(50001, "unauthorized", docs::CODES, FixConfig,
        "the app or the user is not authorised for this endpoint",
        "应用或用户未获得此接口的授权"),
    send(50002, "user_limited", docs::CODES, Stop,
        "the user's account is restricted, frozen or closed",
        "用户账号受限、被冻结或已注销"),
    send(50003, "user_unexpected", docs::CODES, FixConfig,
        "the app may not reach this user, who is not on its list of testers, for example",
        "该应用不能给这个用户发消息，例如用户不在测试名单中"),
    both(50004, "token_api_forbidden", docs::TOKEN, FixConfig,
        "the account is penalised and may not fetch tokens; appeal in the console",
        "该账号因违规被处罚，不能获取 access_token；请在微信后台申诉"),
    send(50005, "user_unsubscribed", docs::CODES, Stop,
        "the user has unfollowed the account",
        "用户已取消关注"),
    both(50007, "account_frozen", docs::TOKEN, FixConfig,
        "the account is frozen; appeal in the console",
        "该账号已被冻结；请在微信后台申诉"),
    // 61000 and above: third-party platforms, trace ids, addresses awaiting confirmation, newer ranges.
    both(61004, "client_ip_unauthorized", docs::ALLOW_LIST, AllowIp,
        "the calling IP address is not registered; by another page, the account has no permission for this endpoint",
        "调用方 IP 未登记；也可能是该账号没有此接口的权限（官方文档有两种解释）"),
    both(61007, "component_unauthorized", docs::CODES, FixConfig,
        "the account has not granted this endpoint to its third-party platform",
        "该账号未将此接口授权给第三方平台"),
    both(61024, "component_token_required", docs::TOKEN, FixConfig,
        "the account belongs to a third-party platform; get its tokens with api_component_token",
        "该账号由第三方平台代调用；需通过 api_component_token 获取 access_token"),
    both(76001, "rid_not_found", docs::RID, Investigate,
        "Weixin has no record of this trace id",
        "微信查不到该 rid"),
    both(76002, "rid_invalid", docs::RID, Investigate,
        "the trace id is malformed",
        "rid 格式错误"),
    both(76003, "rid_of_another_account", docs::RID, Investigate,
        "the trace id belongs to a call of another account",
        "该 rid 是其他账号的请求"),
    both(76004, "rid_too_old", docs::RID, Investigate,
        "a trace id can be looked up for seven days only",
        "只能查询七天内的 rid"),
    both(76021, "cgi_path_not_found", docs::QUOTA, Investigate,
        "there is no endpoint with this path",
        "接口路径不存在"),
    both(76022, "cgi_path_unauthorized", docs::QUOTA, Investigate,
        "this account cannot look up this endpoint",
        "该账号不能查询此接口"),
    both(89501, "ip_awaiting_confirmation", docs::STABLE_TOKEN, AllowIp,
        "the administrator has not confirmed this IP address yet",
        "管理员尚未确认该 IP"),
    both(89503, "ip_needs_confirmation", docs::STABLE_TOKEN, AllowIp,
        "Weixin asked the administrator to confirm this IP address; call again after that",
        "微信已通知管理员确认该 IP；请在确认后重试"),
    both(89506, "ip_refused_for_a_day", docs::STABLE_TOKEN, AllowIp,
        "the administrator refused this IP address twice; it may not call for 24 hours",
        "管理员已两次拒绝该 IP，24 小时内不能调用"),
    both(89507, "ip_refused_for_an_hour", docs::STABLE_TOKEN, AllowIp,
        "the administrator refused this IP address once; it may not call for an hour",
        "管理员已拒绝该 IP，1 小时内不能调用"),
    both(268_487_001, "blacklist_api_busy", docs::COMMON, RetryLater,
        "Weixin is busy; a newer code, seen on other endpoints",
        "微信系统繁忙；这是较新的错误码，目前只在其他接口上见到"),
    both(268_487_002, "followers_api_busy", docs::COMMON, RetryLater,
        "Weixin is busy; a newer code, seen on other endpoints",
        "微信系统繁忙；这是较新的错误码，目前只在其他接口上见到"),
];

/// The official pages that the rows point to.
mod docs {
    /// The list of return codes of all endpoints.
    pub(super) const CODES: &str =
        "https://developers.weixin.qq.com/doc/oplatform/Return_codes/Return_code_descriptions_new.html";

    /// The newer list, with codes common to all products.
    pub(super) const COMMON: &str =
        "https://developers.weixin.qq.com/doc/channels/API/basics/commErrCode.html";

    /// How to investigate a failed call.
    pub(super) const TROUBLESHOOTING: &str =
        "https://developers.weixin.qq.com/doc/oplatform/developers/troubleshooting";

    /// Sending a one-time message.
    pub(super) const SEND: &str =
        "https://developers.weixin.qq.com/doc/service/api/notify/subscribe/api_templatesubscribe.html";

    /// `GET /cgi-bin/token`.
    pub(super) const TOKEN: &str =
        "https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-access-token/api_getaccesstoken.html";

    /// `POST /cgi-bin/stable_token`.
    pub(super) const STABLE_TOKEN: &str =
        "https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken";

    /// The limits on calls.
    pub(super) const LIMITS: &str =
        "https://developers.weixin.qq.com/doc/service/Message_Management/API_Call_Limits.html";

    /// The IP allow-list.
    pub(super) const ALLOW_LIST: &str =
        "https://developers.weixin.qq.com/doc/oplatform/developers/basic_func/ip_whitelist";

    /// Signed and encrypted calls.
    pub(super) const SIGNATURE: &str =
        "https://developers.weixin.qq.com/miniprogram/dev/server/getting_started/api_signature";

    /// Looking up a trace id.
    pub(super) const RID: &str = "https://developers.weixin.qq.com/doc/service/openApi/get_rid_info.html";

    /// Reading the remaining quota.
    pub(super) const QUOTA: &str =
        "https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Language;

    /// Every code that Weixin documents for the calls of this project, and the undocumented -1000.
    #[rustfmt::skip]
    const EXPECTED: &[i64] = &[
        -1000, -1, 0, 40001, 40002, 40003, 40008, 40013, 40014, 40033, 40035, 40036, 40037, 40039, 40048,
        40062, 40066, 40097, 40125, 40129, 40164, 40165, 40166, 40234, 40243, 40249, 41001, 41002, 41004,
        41006, 41009, 41010, 42001, 42007, 43001, 43002, 43003, 43004, 43019, 43101, 43102, 43104, 43106, 43116,
        44002, 45002, 45003, 45004, 45005, 45009, 45011, 45012, 45014, 45015, 45035, 45047, 45051, 45082,
        45093, 45102, 45168, 45501, 46004, 47001, 47002, 47003, 48001, 48002, 48004, 48006, 48008, 48011,
        49003, 50001, 50002, 50003, 50004, 50005, 50007, 61004, 61007, 61024, 76001, 76002, 76003, 76004,
        76021, 76022, 89501, 89503, 89506, 89507, 268_487_001, 268_487_002,
    ];

    #[test]
    fn the_table_has_every_documented_code_once_and_in_order() {
        let codes: Vec<i64> = ErrCode::table().map(|info| info.code.get()).collect();
        assert_eq!(codes, EXPECTED);
    }

    #[test]
    fn every_row_is_found_and_has_its_name_page_and_texts() {
        let mut names = std::collections::BTreeSet::new();
        for info in ErrCode::table() {
            let code = info.code;
            assert_eq!(
                (code.info(), code.name(), code.is_ok()),
                (Some(info), Some(info.name), code.get() == 0)
            );
            assert!(names.insert(info.name), "{code}: name used twice");
            assert!(
                info.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "{code}: {}",
                info.name
            );
            assert!(
                info.docs_url.starts_with("https://developers.weixin.qq.com/"),
                "{code}: {}",
                info.docs_url
            );
            for operation in [Operation::FetchToken, Operation::Send] {
                code.meaning(operation).assert_complete(info.name);
                code.advice(operation).assert_complete(info.name);
            }
        }
    }

    #[test]
    fn remedy_depends_on_the_operation() {
        let cases = [
            // code, on a token call, on a send
            (-1, RetryLater, RetryLater),
            (40001, FixConfig, RefreshToken),
            (40002, FixRequest, FixRequest),
            (40003, Investigate, FixRequest),
            (40013, FixConfig, FixConfig),
            (40014, Investigate, RefreshToken),
            (40037, Investigate, FixConfig),
            (40062, Investigate, FixRequest),
            (40125, FixConfig, FixConfig),
            (40164, AllowIp, AllowIp),
            (40243, FixConfig, FixConfig),
            (41001, FixRequest, FixRequest),
            (42001, Investigate, RefreshToken),
            (43002, FixRequest, FixRequest),
            (43004, Investigate, Stop),
            (43019, Investigate, Stop),
            (43101, Investigate, Stop),
            (45009, SlowDown, SlowDown),
            (45011, SlowDown, SlowDown),
            (45035, AllowIp, AllowIp),
            (47001, FixRequest, FixRequest),
            (47003, FixRequest, FixRequest),
            (48001, FixConfig, FixConfig),
            (48002, Investigate, Stop),
            (50002, Investigate, Stop),
            (50005, Investigate, Stop),
            (50004, FixConfig, FixConfig),
            (50007, FixConfig, FixConfig),
            (61004, AllowIp, AllowIp),
            (61024, FixConfig, FixConfig),
            (76001, Investigate, Investigate),
            (89501, AllowIp, AllowIp),
            (89503, AllowIp, AllowIp),
            (89506, AllowIp, AllowIp),
            (89507, AllowIp, AllowIp),
            (268_487_001, RetryLater, RetryLater),
        ];
        for (code, token_call, send) in cases {
            let code = ErrCode::new(code);
            assert_eq!(code.remedy(Operation::FetchToken), token_call, "{code} on a token call");
            assert_eq!(code.remedy(Operation::Send), send, "{code} on a send");
        }
    }

    #[test]
    fn only_three_codes_mean_a_stale_token_and_those_refresh_on_a_send_only() {
        for info in ErrCode::table() {
            let code = info.code;
            let stale = matches!(code.get(), 40001 | 40014 | 42001);
            assert_eq!(code.is_stale_token(), stale, "{code}");
            assert_eq!(code.remedy(Operation::Send) == RefreshToken, stale, "{code}");
            assert_ne!(code.remedy(Operation::FetchToken), RefreshToken, "{code}");
        }
    }

    /// One advice for both would say to wait a minute for the next day.
    #[test]
    fn each_quota_has_its_own_advice() {
        for operation in [Operation::FetchToken, Operation::Send] {
            let daily = ErrCode::DAILY_QUOTA.advice(operation).in_language(Language::English);
            assert!(
                daily.starts_with("wait until midnight in Beijing") && !daily.contains("minute"),
                "{daily}"
            );
            let minute = ErrCode::MINUTE_QUOTA.advice(operation).in_language(Language::English);
            assert!(minute.starts_with("wait a minute") && !minute.contains("midnight"), "{minute}");
        }
        let daily = ErrCode::DAILY_QUOTA.advice(Operation::Send).in_language(Language::English);
        assert!(daily.contains("`wxsub outbox resume`"), "{daily}");
        let stop = ErrCode::new(43101).advice(Operation::Send);
        assert_eq!(stop, Stop.advice());
    }

    #[test]
    fn a_token_call_is_retried_after_transient_codes_only() {
        for code in [-1000, -1, 45102, 268_487_001, 268_487_002].map(ErrCode::new) {
            assert_eq!(code.remedy(Operation::FetchToken), RetryLater, "{code}");
        }
        for code in [0, 40001, 40125, 45009, 45011, 99999].map(ErrCode::new) {
            assert_ne!(code.remedy(Operation::FetchToken), RetryLater, "{code}");
        }
    }

    #[test]
    fn unknown_codes_are_kept_verbatim() {
        // 900504 is the control server's own and must never look like one of Weixin's.
        for number in [i64::MIN, -2, 1, 40000, 99999, 900_504, i64::MAX] {
            let code = ErrCode::new(number);
            assert_eq!((code.get(), code.to_string()), (number, number.to_string()));
            assert_eq!((code.info(), code.name()), (None, None));
            for operation in [Operation::FetchToken, Operation::Send] {
                assert!(code.meaning(operation).to_string().starts_with("unknown to wxsub; "));
                code.meaning(operation).assert_complete("unknown");
                assert_eq!(code.remedy(operation), Investigate);
            }
        }
    }
}
