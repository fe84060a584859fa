//! `wxsub explain`: the meaning and the remedy of an errcode.

use std::net::IpAddr;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use wxsub_proto::{ApiError, ErrCode, LocalizedText, Operation, Remedy, TraceId};
use wxsub_server::MAYBE_SENT;

use crate::error::{CliError, ExitStatus};
use crate::input::Input;
use crate::language::{localized, shown};
use crate::output::{Output, print};

/// Explain an error code: its meaning on a token call and on a send, and the remedy.
///
/// The exit code is 0 also for a number that wxsub does not know, because Weixin's codes are an open set.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Error code, or the text of an error from Weixin, an SDK or a log; `-` reads standard input
    #[arg(value_name = "CODE", allow_negative_numbers = true)]
    code: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Maximum length of standard input, in bytes. The rest is not read.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

impl Explain {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let refusal = self.refusal()?;
        let explanation = Explanation::new(&refusal);
        Ok(print(self.json, &explanation, |output| explanation.print(output)))
    }

    fn refusal(&self) -> Result<ApiError, CliError> {
        let text = match self.code.as_str() {
            "-" => {
                String::from_utf8_lossy(&Input::read_beginning(Path::new("-"), MAX_INPUT_BYTES)?).into_owned()
            }
            given => given.to_owned(),
        };
        let refusal = find_code(&text).map(|code| ApiError::new(code, &text.replace('"', " ")));
        refusal.ok_or_else(|| CliError::usage(localized!(
            "CODE: must be a whole number such as 40001, or text with exactly one error code; this text has none or several",
            "CODE：必须是整数（例如 40001），或恰好含有一个错误码的文本；这段文本没有错误码，或有多个"
        )))
    }
}

/// The known facts about an errcode, and about the call that returned it. JSON omits fields without a value.
#[serde_with::skip_serializing_none]
#[derive(Serialize)]
struct Explanation<'a> {
    errcode: ErrCode,
    /// Whether it is an errcode of Weixin's table or of the control server.
    known: bool,
    name: Option<&'static str>,
    token_call: CallAdvice,
    send: CallAdvice,
    link: Option<&'static str>,
    ip: Option<IpAddr>,
    rid: Option<&'a TraceId>,
}

/// Meaning and remedy for one operation.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
struct CallAdvice {
    meaning: &'static str,
    remedy: Remedy,
    advice: &'static str,
}

impl CallAdvice {
    fn to_do(self) -> String {
        let advice = self.advice;
        localized!("  what to do: {advice}", "  处理建议：{advice}")
    }
}

impl<'a> Explanation<'a> {
    /// Explains the error.
    fn new(refusal: &'a ApiError) -> Self {
        let errcode = refusal.errcode();
        if errcode == MAYBE_SENT {
            return Self::maybe_sent();
        }
        let advice_for = |operation: Operation| {
            let remedy = errcode.remedy(operation);
            let (meaning, advice) = (errcode.meaning(operation), errcode.advice(operation));
            CallAdvice { meaning: shown(&meaning), remedy, advice: shown(&advice) }
        };
        Self {
            errcode,
            known: errcode.info().is_some(),
            name: errcode.name(),
            token_call: advice_for(Operation::FetchToken),
            send: advice_for(Operation::Send),
            link: errcode.info().map(|info| info.docs_url),
            ip: refusal.blocked_ip(),
            rid: refusal.trace_id(),
        }
    }

    /// Explains the errcode of the control server, which is not in Weixin's table.
    fn maybe_sent() -> Self {
        let meaning = LocalizedText::new(
            "the control server's own code: the message may have been sent",
            "中控服务器自定义的错误码：消息可能已发出",
        );
        let text = LocalizedText::new(
            "do not send it again before you know whether it arrived; the server's audit log has more",
            "先确认用户是否收到，确认之前不要重发；可以查看中控服务器的审计日志",
        );
        let advice =
            CallAdvice { meaning: shown(&meaning), remedy: Remedy::Investigate, advice: shown(&text) };
        Self {
            errcode: MAYBE_SENT,
            known: true,
            name: Some("maybe_sent"),
            token_call: advice,
            send: advice,
            link: None,
            ip: None,
            rid: None,
        }
    }

    /// Prints the explanation as text.
    fn print(&self, output: &mut Output) {
        let mut line = |text: String| output.line(text);
        let name = self.name.map_or_else(|| localized!("unknown", "未收录"), str::to_owned);
        line(format!("{} {name}", self.errcode));
        let (token_call, send) = (self.token_call.meaning, self.send.meaning);
        if self.token_call == self.send {
            line(send.to_owned());
        } else {
            line(localized!("on a token call: {token_call}", "获取 access_token 时：{token_call}"));
            line(self.token_call.to_do());
            line(localized!("on a send: {send}", "发送消息时：{send}"));
        }
        line(self.send.to_do());
        if let Some(address) = self.ip {
            line(localized!("IP address: {address}", "IP 地址：{address}"));
        }
        if let Some(trace_id) = self.rid {
            line(localized!(
                "trace id for Weixin's support: {trace_id}",
                "rid（联系微信客服时提供）：{trace_id}"
            ));
        }
        if let Some(link) = self.link {
            line(localized!("documentation: {link}", "官方文档：{link}"));
        }
    }
}

/// Names of the error code in lower case, the most reliable first.
const CODE_NAMES: [&str; 8] = [
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
/// The text is one of these, in this order: a number; text with a number after one of the [`CODE_NAMES`]; text with exactly one known
/// code.
fn find_code(text: &str) -> Option<ErrCode> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if let Ok(code) = text.parse() {
        return Some(ErrCode::new(code));
    }
    let lower = text.to_ascii_lowercase();
    CODE_NAMES.iter().find_map(|name| number_after(&lower, name)).or_else(|| only_known_code(&lower))
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
        .filter(|code| code.get() > 0 && (code.info().is_some() || *code == MAYBE_SENT));
    let first = codes.next()?;
    codes.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(find_code(text).map(|code| code.get()), expected, "{text}");
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
            assert_eq!(find_code(text).map(|code| code.get()), Some(expected), "{text}");
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
            assert_eq!(find_code(text), None, "{text}");
        }
    }
}
