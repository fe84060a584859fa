//! The output for one errcode.

use std::net::IpAddr;

use serde::Serialize;
use wxsub_proto::errcode::{ErrCodeInfo, Language};
use wxsub_proto::{ApiError, ErrCode, Operation, Remedy, TraceId};
use wxsub_server::MAYBE_SENT;

use super::OPERATIONS;
use super::labels::Labels;
use crate::output::Output;

/// The known facts about an errcode, and about the call that returned it. JSON omits fields without a value.
#[derive(Serialize)]
pub(super) struct Explanation<'a> {
    errcode: ErrCode,
    /// Whether it is an errcode of Weixin's table or of the control server.
    known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    token_call: CallAdvice,
    send: CallAdvice,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a TraceId>,
}

/// Meaning and remedy for one operation.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
struct CallAdvice {
    meaning: &'static str,
    remedy: Remedy,
    advice: &'static str,
}

impl<'a> Explanation<'a> {
    /// Explains the error in this language.
    pub(super) fn new(refusal: &'a ApiError, language: Language) -> Self {
        let errcode = refusal.errcode();
        if errcode == MAYBE_SENT {
            return Self::maybe_sent(language);
        }
        let advice_for = |operation: Operation| {
            let remedy = errcode.remedy(operation);
            let meaning = errcode.meaning(operation).in_language(language);
            CallAdvice { meaning, remedy, advice: remedy.advice().in_language(language) }
        };
        Self {
            errcode,
            known: errcode.entry().is_some(),
            name: errcode.name(),
            token_call: advice_for(Operation::FetchToken),
            send: advice_for(Operation::Send),
            link: errcode.entry().map(ErrCodeInfo::docs_url),
            ip: refusal.blocked_ip(),
            rid: refusal.trace_id(),
        }
    }

    /// Explains the errcode of the control server, which is not in Weixin's table.
    fn maybe_sent(language: Language) -> Self {
        let (meaning, text) = match language {
            Language::Chinese => (
                "中控服务器自定义的错误码：消息可能已发出",
                "先确认用户是否收到，确认之前不要重发；可以查看中控服务器的审计日志",
            ),
            _ => (
                "the control server's own code: the message may have been sent",
                "do not send it again before you know whether it arrived; the server's audit log has more",
            ),
        };
        let advice = CallAdvice { meaning, remedy: Remedy::Investigate, advice: text };
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
    pub(super) fn print(&self, labels: &Labels, output: &mut Output) {
        output.line(format_args!("{} {}", self.errcode, self.name.unwrap_or(labels.unknown)));
        if self.token_call == self.send {
            output.line(self.send.meaning);
            output.line(format_args!("  {}{}", labels.to_do, self.send.advice));
        } else {
            for (operation, advice) in OPERATIONS.into_iter().zip([self.token_call, self.send]) {
                output.line(format_args!("{}{}", labels.operation(operation), advice.meaning));
                output.line(format_args!("  {}{}", labels.to_do, advice.advice));
            }
        }
        if let Some(address) = self.ip {
            output.line(format_args!("{}{address}", labels.address));
        }
        if let Some(trace_id) = self.rid {
            output.line(format_args!("{}{trace_id}", labels.trace_id));
        }
        if let Some(link) = self.link {
            output.line(format_args!("{}{link}", labels.more));
        }
    }
}
