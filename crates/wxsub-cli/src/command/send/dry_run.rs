//! `--dry-run`: prints what would be sent.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use wxsub_proto::{Message, OpenId, Scene, TemplateId};

use super::batch::{BatchSend, ReaderEvent};
use super::results::Record;
use super::summary::missing_line;
use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::input::unreadable;
use crate::output::Output;

/// A message that would be sent.
#[derive(Serialize)]
struct WouldSend<'a> {
    would_send: bool,
    touser: &'a OpenId,
    template_id: &'a TemplateId,
    scene: Scene,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
}

impl<'a> WouldSend<'a> {
    fn new(message: &'a Message, line: Option<u64>, id: Option<&'a Value>) -> Self {
        let grant = message.grant();
        let (touser, template_id, scene) = (grant.openid(), grant.template_id(), grant.scene());
        Self { would_send: true, touser, template_id, scene, line, id }
    }
}

/// Prints that the message would be sent.
pub(super) fn report(message: &Message, json: bool) -> ExitStatus {
    let mut output = Output::new();
    match json {
        true => output.json(&WouldSend::new(message, None, None)),
        false => output.line("would be sent"),
    }
    output.end(ExitStatus::Success)
}

/// Prints for each selected line whether it would be sent, up to the limit.
pub(super) async fn run(
    mut batch: BatchSend,
    path: &Path,
    limit: Option<u64>,
) -> Result<ExitStatus, CliError> {
    let mut output = Output::new();
    let (mut valid, mut invalid, mut beyond, mut exit) = (0, 0, 0, ExitStatus::Success);
    while let Some(event) = batch.next().await {
        let line = match event {
            ReaderEvent::Line(line) => line,
            ReaderEvent::Missing { line, lines } => {
                exit = missing_line(line, lines).report();
                break;
            }
            ReaderEvent::Failed(error) => return Err(unreadable(path, &error)),
        };
        match &line.message {
            Ok(_) if limit.is_some_and(|limit| valid >= limit) => beyond += 1,
            Ok(message) => {
                valid += 1;
                output.json(&WouldSend::new(message, Some(line.number), line.id.as_ref()));
            }
            Err(invalid_message) => {
                invalid += 1;
                exit = ExitStatus::Usage;
                output.json(&Record::new(invalid_message.result().at_line(line.number), line.id.as_ref()));
            }
        }
    }
    let beyond = if beyond == 0 { String::new() } else { format!(", {beyond} beyond --limit") };
    console::note(format_args!(
        "dry run: {valid} would be sent, {invalid} invalid{beyond}; nothing was posted"
    ));
    Ok(output.end(exit))
}
