//! Tells the story, step by step.

use serde::Serialize;

use crate::console::sanitize_line;
use crate::exit::ExitStatus;
use crate::output::Output;

/// What came of a step: a value for the steps after it and a sentence, or what went wrong.
pub(super) type Outcome<T> = Result<(T, String), String>;

/// A step failed; there is nothing left to tell.
#[derive(Debug)]
pub(super) struct Failed;

/// Prints one line a step.
pub(super) struct Teller {
    output: Output,
    json: bool,
    told: u32,
}

#[derive(Serialize)]
struct Step<'a> {
    step: u32,
    name: &'a str,
    ok: bool,
    detail: &'a str,
}

impl Teller {
    /// For programs or for people.
    pub(super) fn new(json: bool) -> Self {
        Self { output: Output::new(), json, told: 0 }
    }

    /// Tells a step, and gives what the next ones need.
    pub(super) fn step<T>(&mut self, name: &str, outcome: Outcome<T>) -> Result<T, Failed> {
        self.told += 1;
        let (value, detail) = match outcome {
            Ok((value, detail)) => (Ok(value), detail),
            Err(wrong) => (Err(Failed), wrong),
        };
        let step = Step { step: self.told, name, ok: value.is_ok(), detail: &sanitize_line(&detail) };
        if self.json {
            self.output.json(&step);
        } else {
            let mark = if step.ok { '✓' } else { '✗' };
            self.output.line(format_args!("{mark} {:>2} {name:<8} {}", step.step, step.detail));
        }
        self.output.flush();
        value
    }

    /// How many steps were told.
    pub(super) fn told(&self) -> u32 {
        self.told
    }

    /// All was told.
    pub(super) fn end(self) -> ExitStatus {
        self.output.end(ExitStatus::Success)
    }
}
