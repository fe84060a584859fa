//! Prints the steps.

use serde::Serialize;

use crate::console::sanitize_line;
use crate::exit::ExitStatus;
use crate::output::Output;

/// The result of a step: a value for later steps and a description, or an error message.
pub(super) type StepResult<T> = Result<(T, String), String>;

/// A step failed, and its error is printed.
#[derive(Debug)]
pub(super) struct StepFailed;

/// Prints one line per step.
pub(super) struct Reporter {
    output: Output,
    json: bool,
    steps: u32,
}

#[derive(Serialize)]
struct Step<'a> {
    step: u32,
    name: &'a str,
    ok: bool,
    detail: &'a str,
}

impl Reporter {
    /// Creates a reporter that prints JSON or text.
    pub(super) fn new(json: bool) -> Self {
        Self { output: Output::new(), json, steps: 0 }
    }

    /// Prints the result of a step and returns its value.
    ///
    /// # Errors
    ///
    /// [`StepFailed`] if the result is an error.
    pub(super) fn step<T>(&mut self, name: &str, result: StepResult<T>) -> Result<T, StepFailed> {
        self.steps += 1;
        let (value, detail) = match result {
            Ok((value, detail)) => (Ok(value), detail),
            Err(error) => (Err(StepFailed), error),
        };
        let step = Step { step: self.steps, name, ok: value.is_ok(), detail: &sanitize_line(&detail) };
        if self.json {
            self.output.json(&step);
        } else {
            let mark = if step.ok { '✓' } else { '✗' };
            self.output.line(format_args!("{mark} {:>2} {name:<15} {}", step.step, step.detail));
        }
        self.output.flush();
        value
    }

    /// Number of steps so far.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// Ends the output and returns the exit status.
    pub(super) fn finish(self) -> ExitStatus {
        self.output.end(ExitStatus::Success)
    }
}
