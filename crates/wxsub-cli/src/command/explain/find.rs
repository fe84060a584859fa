//! Finds the error code in the text of Weixin, an SDK or a log.

use wxsub_proto::ErrCode;
use wxsub_server::MAYBE_SENT;

/// Names of the error code in lower case, the most reliable first.
const NAMES: [&str; 8] = [
    // Weixin itself, EasyWeChat, silenceper/wechat, PowerWeChat
    "errcode",
    // Senparc and others in C#, Java and Python
    "errorcode",
    "error_code",
    "err_code",
    // wechatpy
    "error code",
    // WxJava and Senparc
    "错误代码",
    "错误码",
    "返回码",
];

/// Finds the error code in a text.
///
/// The text is one of these, in this order: a number; text with a number after one of the [`NAMES`]; text with exactly one known
/// code.
pub(super) fn code(text: &str) -> Option<ErrCode> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if let Ok(code) = text.parse() {
        return Some(ErrCode::new(code));
    }
    let lower = text.to_ascii_lowercase();
    NAMES.iter().find_map(|name| number_after(&lower, name)).or_else(|| only_known_code(&lower))
}

/// Returns the first number after this name.
fn number_after(text: &str, name: &str) -> Option<ErrCode> {
    text.match_indices(name).find_map(|(at, _)| {
        let rest = skip_separators(text.get(at + name.len()..)?);
        // PHP dumps numbers as int(40001).
        let rest =
            ["int(", "is ", "为", "是"].into_iter().find_map(|word| rest.strip_prefix(word)).unwrap_or(rest);
        number(skip_separators(rest))
    })
}

/// Removes the characters between a name and its number.
fn skip_separators(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_whitespace() || "\"'`\\:：=>[](){}".contains(c))
}

/// Parses the whole number at the beginning.
fn number(text: &str) -> Option<ErrCode> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let rest = unsigned.trim_start_matches(|c: char| c.is_ascii_digit());
    text.strip_suffix(rest)?.parse().ok().map(ErrCode::new)
}

/// Returns the only known code in a text without a name, as in `[40164] invalid ip` or `WeChatAPIError: 40001`.
fn only_known_code(text: &str) -> Option<ErrCode> {
    // Trace ids, addresses and times stay one word each, so that no part of them counts as a code.
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_-.:".contains(c));
    let mut codes = words
        .filter_map(|word| word.trim_end_matches(['.', ':']).parse().ok().map(ErrCode::new))
        .filter(|code| code.get() > 0 && (code.entry().is_some() || *code == MAYBE_SENT));
    let first = codes.next()?;
    codes.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn number_or_errcode_is_found() {
        for (text, expected) in [
            ("40001", Some(40001)),
            (" -1\n", Some(-1)),
            ("\u{feff}40001\r\n", Some(40001)),
            (r#"{"errcode":40164,"errmsg":"invalid ip"}"#, Some(40164)),
            (r#"{"errmsg":"x", "errcode" : "-1"}"#, Some(-1)),
            (r#""{\"errcode\":45009}""#, Some(45009)),
            ("error: Weixin refused: errcode 43101: user refuse", Some(43101)),
            ("errcode=7,", Some(7)),
            ("errcode", None),
            ("errcode: none", None),
            ("errcode -", None),
            ("99999999999999999999", None),
            ("4e4", None),
            ("40001 40013", None),
            ("", None),
        ] {
            assert_eq!(code(text).map(|code| code.get()), expected, "{text}");
        }
    }

    /// Exceptions, logs and dumps of SDKs.
    #[test]
    fn code_in_sdk_output_is_found() {
        for (text, expected) in [
            // WxJava
            ("WxErrorException: 错误代码：40001, 错误信息：不合法的凭证，微信原始报文：", 40001),
            ("错误代码:43101, 错误信息:用户拒绝接受消息", 43101),
            // wechatpy: text and representation
            (
                "WeChatClientException: Error code: 40164, message: invalid ip 203.0.113.7, not in whitelist",
                40164,
            ),
            (
                "exception=WeChatClientException(40001, invalid credential, hint: [1740671476_450144148])",
                40001,
            ),
            // Senparc
            (
                "微信 POST 请求发生错误！错误代码：43004，说明：require subscribe hint: [x.oNUa06394121]",
                43004,
            ),
            ("ErrorJsonResultException ErrorCodeValue: 40037", 40037),
            // silenceper/wechat, and structs printed by Go
            (
                "template msg send error : errcode=40001 , errmsg=invalid credential rid: 66bac357-63c29597-4c205ae0",
                40001,
            ),
            ("SubscribeMsg Error , errcode=43101 , errmsg=user refuse", 43101),
            ("&{ErrCode:40037 ErrMsg:invalid template_id}", 40037),
            ("ErrCode(40001) != 0", 40001),
            // EasyWeChat
            (
                r#"HttpException(code: 0): Request access_token fail: {\"errcode\":40164,\"errmsg\":\"invalid ip\"} at AccessToken.php:179"#,
                40164,
            ),
            ("array ( 'errcode' => 40001, 'errmsg' => 'invalid credential')", 40001),
            ("array(2) { [\"errcode\"]=> int(40013) [\"errmsg\"]=> string(13) \"invalid appid\" }", 40013),
            // co-wechat-api and wechat-api
            ("WeChatAPIError: 40001", 40001),
            (
                "{ WeChatAPIError: invalid credential rid: 630ecbee-28894bea-0ee8d49c\n  name: 'WeChatAPIError', code: 40001 }",
                40001,
            ),
            ("{ errcode: 40001,\n  errmsg: 'invalid credential' }", 40001),
            // others
            ("OfficialAPIError: 40001: invalid credential, access_token is invalid", 40001),
            ("[40164] invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist", 40164),
            ("Weixin send post request reply[45015]: response out of time limit", 45015),
            ("错误码为45009", 45009),
            ("{'errcode': 40125, 'errmsg': 'invalid appsecret'}", 40125),
            // the control server
            ("Error code: 900504, message: the message may have been sent, do not repeat it", 900_504),
            ("send: 900504", 900_504),
        ] {
            assert_eq!(code(text).map(|code| code.get()), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_no_codes() {
        for text in [
            "connect ECONNREFUSED 127.0.0.1:40001",
            "http://localhost:40001/cgi-bin/token",
            "rid: 40001000-40013000-40001000",
            "2026-01-01 10:00:00 pid 4000 status 200",
            "40001 and 40013",
            "errcode：获取access_token时AppSecret错误",
        ] {
            assert_eq!(code(text), None, "{text}");
        }
    }
}
