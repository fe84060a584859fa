//! Tells what was found, check by check.

use std::net::IpAddr;

use serde::Serialize;
use wxsub_proto::{ErrCode, Remedy, TraceId};

use super::{Aborted, Check, CheckFailure};
use crate::console::{self, sanitize_line};
use crate::exit::ExitStatus;
use crate::output::Output;

/// What came of a check.
pub(super) enum Finding<T> {
    /// It holds: what the next checks need, and a sentence.
    Ok(T, String),
    /// It does not hold.
    Failed(CheckFailure),
    /// It was not looked at, for this reason.
    Skipped(String),
}

/// Prints one line per check, and remembers the first that failed.
pub(super) struct Report {
    output: Output,
    json: bool,
    told: Vec<Check>,
    /// The first that failed, and how the command ends because of it.
    failed: Option<(Check, ExitStatus)>,
    /// The last that failed: nothing after it was looked at.
    stopped_at: Option<Check>,
}

#[derive(Serialize)]
struct Line<'a> {
    check: Check,
    outcome: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<Remedy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errcode: Option<ErrCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
}

impl Report {
    /// For programs or for people.
    pub(super) fn new(json: bool) -> Self {
        Self { output: Output::new(), json, told: Vec::new(), failed: None, stopped_at: None }
    }

    /// Tells what came of a check that the following ones need.
    pub(super) fn tell<T>(&mut self, check: Check, finding: Finding<T>) -> Result<T, Aborted> {
        self.skip(|other| other < check, "Weixin found something else first");
        match finding {
            Finding::Ok(value, detail) => {
                self.line(check, "ok", &detail, None);
                Ok(value)
            }
            Finding::Skipped(why) => {
                self.line(check, "skipped", &why, None);
                Err(Aborted)
            }
            Finding::Failed(fault) => {
                self.failed.get_or_insert((check, fault.exit));
                self.stopped_at = Some(check);
                self.line(check, "failed", &fault.cause, Some(&fault));
                Err(Aborted)
            }
        }
    }

    /// Tells what came of a check without which the following ones can do if it was only skipped.
    pub(super) fn tell_anyway(&mut self, check: Check, finding: Finding<()>) -> Result<(), Aborted> {
        let skipped = matches!(finding, Finding::Skipped(_));
        self.tell(check, finding).or_else(|stopped| if skipped { Ok(()) } else { Err(stopped) })
    }

    /// Tells what came of a check that the following ones do not need.
    pub(super) fn note(&mut self, check: Check, finding: Finding<()>) {
        let _: Result<(), Aborted> = self.tell(check, finding);
    }

    /// All was looked at, or nothing more can be.
    pub(super) fn end(mut self) -> ExitStatus {
        let Some((check, exit)) = self.failed else {
            if !self.json {
                console::note("nothing is wrong here");
            }
            return self.output.end(ExitStatus::Success);
        };
        let why = format!("not before {} is right", self.stopped_at.unwrap_or(check).name());
        self.skip(|_| true, &why);
        if !self.json {
            console::note(format_args!("begin with: {}", check.name()));
        }
        self.output.end(exit)
    }

    /// Tells that these were not looked at, unless they were.
    fn skip(&mut self, which: impl Fn(Check) -> bool, why: &str) {
        for check in Check::ALL {
            if which(check) && !self.told.contains(&check) {
                self.line(check, "skipped", why, None);
            }
        }
    }

    fn line(&mut self, check: Check, outcome: &'static str, detail: &str, fault: Option<&CheckFailure>) {
        self.told.push(check);
        let detail = sanitize_line(detail);
        if self.json {
            self.output.json(&Line {
                check,
                outcome,
                detail: &detail,
                remedy: fault.map(|fault| fault.remedy),
                advice: fault.map(|fault| fault.to_do.as_str()),
                errcode: fault.and_then(|fault| fault.errcode),
                rid: fault.and_then(|fault| fault.rid.as_ref()),
                ip: fault.and_then(|fault| fault.ip),
            });
        } else {
            let to_do = fault.map(|fault| format!("; what to do: {}", sanitize_line(&fault.to_do)));
            let to_do = to_do.unwrap_or_default();
            self.output.line(format_args!("{outcome:<7} {:<13} {detail}{to_do}", check.name()));
        }
        self.output.flush();
    }
}
