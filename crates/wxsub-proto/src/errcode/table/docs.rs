//! The official pages that the rows point to.

/// The list of return codes of all endpoints.
pub(super) const CODES: &str =
    "https://developers.weixin.qq.com/doc/oplatform/Return_codes/Return_code_descriptions_new.html";

/// The newer list, with codes common to all products.
pub(super) const COMMON: &str = "https://developers.weixin.qq.com/doc/channels/API/basics/commErrCode.html";

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
pub(super) const QUOTA: &str = "https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota";
