//! The checks of doctor by name, what they find, and the report of it.

use std::net::IpAddr;

use serde::Serialize;
use wxsub_proto::redact::sanitize_line;
use wxsub_proto::{ErrCode, Remedy, TraceId, named_enum};

use crate::console;
use crate::diagnosis::Diagnosis;
use crate::error::ExitStatus;
use crate::language::localized;
use crate::output::Output;

named_enum! {
    /// A check. Each check needs the earlier ones.
    pub(super) enum Check {
        /// Environment variables and flags are valid.
        Configuration = "configuration",
        /// Host names have addresses.
        Dns = "dns",
        /// Connections succeed, with TLS and a valid certificate.
        Connection = "connection",
        /// Responses are from Weixin.
        Weixin = "weixin",
        /// Responses are from a control server.
        Server = "server",
        /// This machine's clock agrees with Weixin's.
        Clock = "clock",
        /// Weixin accepts calls from this machine's address.
        Address = "address",
        /// AppID and AppSecret are right.
        Secret = "secret",
        /// Weixin issues a token that works.
        Token = "token",
        /// The daily quota is not used up.
        Quota = "quota",
        /// The control server takes messages.
        Ledger = "ledger",
        /// The control server knows the key.
        Key = "key",
        /// The control server has a token for the app, and its messages go on.
        App = "app",
        /// Applications get their webhooks.
        Webhooks = "webhooks",
    }
}

impl Check {
    /// The checks of a control server, in order.
    pub(super) const SERVER: [Self; 8] = [
        Self::Configuration,
        Self::Dns,
        Self::Connection,
        Self::Server,
        Self::Ledger,
        Self::Key,
        Self::App,
        Self::Webhooks,
    ];

    /// The checks of Weixin, in order.
    pub(super) const WEIXIN: [Self; 9] = [
        Self::Configuration,
        Self::Dns,
        Self::Connection,
        Self::Weixin,
        Self::Clock,
        Self::Address,
        Self::Secret,
        Self::Token,
        Self::Quota,
    ];
}

/// The remaining checks cannot run. The failed check is already reported.
pub(super) struct Aborted;

/// Result of a check: a value for later checks and a description, or why there is none.
pub(super) type Finding<T> = Result<(T, String), Unsuccessful>;

/// Why a check was not successful.
pub(super) enum Unsuccessful {
    /// Failure.
    Failed(Box<Diagnosis>),
    /// The check did not run, for this reason.
    Skipped(String),
}

impl From<Diagnosis> for Unsuccessful {
    fn from(failure: Diagnosis) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// Prints one line per check and keeps the first failure.
pub(super) struct Report {
    output: Output,
    json: bool,
    checks: &'static [Check],
    reported: Vec<Check>,
    /// First failed check, with what it is about if it is about one of several, and its exit status.
    failed: Option<(Check, String, ExitStatus)>,
    /// Last failed check. The checks after it did not run.
    stopped_at: Option<Check>,
}

#[serde_with::skip_serializing_none]
#[derive(Serialize)]
struct Line<'a> {
    check: Check,
    outcome: &'static str,
    detail: &'a str,
    remedy: Option<Remedy>,
    advice: Option<&'a str>,
    errcode: Option<ErrCode>,
    rid: Option<&'a TraceId>,
    ip: Option<IpAddr>,
}

impl Report {
    /// Creates a report of these checks, in JSON or text.
    pub(super) fn new(checks: &'static [Check], json: bool) -> Self {
        Self { output: Output::new(), json, checks, reported: Vec::new(), failed: None, stopped_at: None }
    }

    /// Prints the result of a check that later checks need, and returns its value.
    ///
    /// # Errors
    ///
    /// [`Aborted`] if the check failed or did not run.
    pub(super) fn require<T>(&mut self, check: Check, finding: Finding<T>) -> Result<T, Aborted> {
        self.skip(
            |other| other < check,
            &localized!("Weixin reported another problem first", "微信先返回了其他问题"),
        );
        match finding {
            Ok((value, detail)) => {
                self.line(check, "ok", &detail, None);
                Ok(value)
            }
            Err(Unsuccessful::Skipped(reason)) => {
                self.line(check, "skipped", &reason, None);
                Err(Aborted)
            }
            Err(Unsuccessful::Failed(failure)) => {
                let subject = failure.subject.as_ref().map(|name| format!(" {name}"));
                self.failed.get_or_insert((check, subject.unwrap_or_default(), failure.exit));
                self.stopped_at = Some(check);
                self.line(check, "failed", &failure.cause, Some(&failure));
                Err(Aborted)
            }
        }
    }

    /// Prints the result of a check that later checks need, unless it was skipped.
    ///
    /// # Errors
    ///
    /// [`Aborted`] if the check failed.
    pub(super) fn require_unless_skipped(
        &mut self,
        check: Check,
        finding: Finding<()>,
    ) -> Result<(), Aborted> {
        let skipped = matches!(finding, Err(Unsuccessful::Skipped(_)));
        self.require(check, finding).or_else(|aborted| if skipped { Ok(()) } else { Err(aborted) })
    }

    /// Prints the result of a check that later checks do not need.
    pub(super) fn optional(&mut self, check: Check, finding: Finding<()>) {
        let _: Result<(), Aborted> = self.require(check, finding);
    }

    /// Prints the checks that did not run and returns the exit status.
    pub(super) fn finish(mut self) -> ExitStatus {
        let Some((check, subject, exit)) = self.failed.take() else {
            if !self.json {
                console::note(localized!("no problem found", "没有发现问题"));
            }
            return self.output.end(ExitStatus::Success);
        };
        let stopped_at = self.stopped_at.unwrap_or(check);
        let reason = localized!("correct {stopped_at} first", "请先解决 {stopped_at}");
        self.skip(|_| true, &reason);
        if !self.json {
            console::note(localized!("start with: {check}{subject}", "请先处理：{check}{subject}"));
        }
        self.output.end(exit)
    }

    /// Prints these checks as skipped, except those already printed.
    fn skip(&mut self, which: impl Fn(Check) -> bool, reason: &str) {
        for check in self.checks.iter().copied() {
            if which(check) && !self.reported.contains(&check) {
                self.line(check, "skipped", reason, None);
            }
        }
    }

    fn line(&mut self, check: Check, outcome: &'static str, detail: &str, failure: Option<&Diagnosis>) {
        self.reported.push(check);
        let detail = sanitize_line(detail.chars());
        if self.json {
            self.output.json(&Line {
                check,
                outcome,
                detail: &detail,
                remedy: failure.map(|failure| failure.remedy),
                advice: failure.map(|failure| failure.to_do.as_str()),
                errcode: failure.and_then(|failure| failure.errcode),
                rid: failure.and_then(|failure| failure.rid.as_ref()),
                ip: failure.and_then(|failure| failure.ip),
            });
        } else {
            let to_do = failure
                .map(|Diagnosis { to_do, .. }| localized!("; what to do: {to_do}", "；处理建议：{to_do}"));
            let to_do = to_do.unwrap_or_default();
            self.output.line(format_args!("{outcome:<7} {check:<13} {detail}{to_do}"));
        }
        self.output.flush();
    }
}
