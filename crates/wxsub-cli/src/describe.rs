//! Describes a failed send or token call in one line: what failed, what it means, what to do.

use wxsub_client::ControlServerError;
use wxsub_core::SendError;
use wxsub_core::error::Delivery;
use wxsub_core::token::TokenError;
use wxsub_proto::{ApiError, Operation, Remedy};

use crate::diagnosis::Diagnosis;
use crate::error::{CliError, ExitStatus};
use crate::language::{advice, localized, shown};

/// Describes a failed send.
pub(crate) fn describe_send_error(error: &SendError) -> String {
    let text = shown(&error.localized());
    match (error.api_error(), error.delivery()) {
        (Some(api_error), _) => text + &meaning_and_advice(api_error, error.operation()),
        (None, Delivery::NotSent) => text + &safe_retry(error.remedy()),
        // The text of the error already says what to do.
        (None, Delivery::MaybeSent | Delivery::Rejected) => text,
    }
}

/// Describes a failed token call.
pub(crate) fn describe_token_error(error: &TokenError) -> String {
    let text = shown(&error.localized());
    match error.api_error() {
        Some(api_error) => text + &meaning_and_advice(api_error, Operation::FetchToken),
        None => text + &safe_retry(error.remedy()),
    }
}

/// Describes a refused call of this operation.
pub(crate) fn describe_refusal(api_error: &ApiError, operation: Operation) -> String {
    localized!("Weixin refused: {api_error}", "微信返回错误：{api_error}")
        + &meaning_and_advice(api_error, operation)
}

/// The error of a failed call of a control server. `lost` is the exit status if the call may have taken effect.
pub(crate) fn server_error(error: &ControlServerError, lost: ExitStatus) -> CliError {
    if let Some(refusal) = error.api_error() {
        return CliError::new(ExitStatus::Refused, describe_refusal(&refusal, Operation::FetchToken));
    }
    let Diagnosis { exit, cause, to_do, .. } = Diagnosis::of_server_error(error, lost);
    let retry = match error {
        ControlServerError::NotReached(error) if !error.is_config_error() => {
            localized!("; it is safe to try again", "；可以放心重试")
        }
        _ => String::new(),
    };
    CliError::new(
        exit,
        localized!("{cause}{retry}; what to do: {to_do}", "{cause}{retry}；处理建议：{to_do}"),
    )
}

/// Why `--fetch` is refused with a control server.
pub(crate) fn no_fetch_with_server() -> String {
    localized!(
        "cannot be used with a control server, which fetches tokens itself",
        "不能与中控服务器一起使用；中控服务器自己获取 access_token"
    )
}

/// Says that a retry is safe, and what to do first.
fn safe_retry(remedy: Remedy) -> String {
    match remedy {
        Remedy::RetryLater => localized!("; it is safe to try again", "；可以放心重试"),
        Remedy::Investigate => localized!(
            "; it is safe to try again, but first find out what responded instead of Weixin",
            "；可以放心重试，但请先查明是什么程序代替微信作了响应"
        ),
        remedy => {
            let advice = advice(remedy);
            localized!(
                "; it is safe to try again, but first {advice}",
                "；可以放心重试，但请先处理：{advice}"
            )
        }
    }
}

fn meaning_and_advice(api_error: &ApiError, operation: Operation) -> String {
    let code = api_error.errcode();
    let (meaning, advice) = (shown(&code.meaning(operation)), advice(code.remedy(operation)));
    let mut text =
        localized!("; this means: {meaning}; what to do: {advice}", "；含义：{meaning}；处理建议：{advice}");
    if let Some(address) = api_error.blocked_ip() {
        text += &localized!("; the address is {address}", "；IP 地址是 {address}");
    }
    if let Some(trace_id) = api_error.trace_id() {
        text += &localized!(
            "; trace id for Weixin's support: {trace_id}",
            "；rid（联系微信客服时提供）：{trace_id}"
        );
    }
    text
}
