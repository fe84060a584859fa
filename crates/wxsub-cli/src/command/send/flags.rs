//! The flags of one message.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use wxsub_proto::message::MessageDraft;

use crate::environment::{BYTE_ORDER_MARK, without_newline};
use crate::error::CliError;
use crate::input::Input;
use crate::usage::UsageErrors;

/// The flags of one message.
#[derive(Debug, Args)]
#[command(next_help_heading = "One message")]
pub(super) struct MessageFlags {
    /// OpenID of the receiver
    #[arg(long, value_name = "OPENID", allow_hyphen_values = true)]
    to: Option<String>,
    /// Template of the consent
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    template: Option<String>,
    /// Scene of the consent: 0 to 10000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    scene: Option<String>,
    /// Title: at most 15 characters
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    title: Option<String>,
    /// Content: at most 200 characters; line breaks are allowed
    #[arg(long, value_name = "C", allow_hyphen_values = true, conflicts_with = "content_file")]
    content: Option<String>,
    /// Read the content from this file, without one newline at the end; `-` reads standard input
    #[arg(long, value_name = "F")]
    content_file: Option<PathBuf>,
    /// Colour of the content
    #[arg(long, value_name = "#RRGGBB")]
    color: Option<String>,
    /// Web page that a tap opens
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Mini program that a tap opens
    #[arg(long, value_name = "APPID")]
    miniprogram_appid: Option<String>,
    /// Page of the mini program
    #[arg(long, value_name = "PATH")]
    miniprogram_path: Option<String>,
}

/// Maximum length of a content file, in bytes. A valid content is shorter.
const MAX_CONTENT_FILE_BYTES: u64 = 64 * 1024;

impl MessageFlags {
    /// Names of the flags.
    pub(super) const ALL: [&str; 10] = [
        "to",
        "template",
        "scene",
        "title",
        "content",
        "content_file",
        "color",
        "url",
        "miniprogram_appid",
        "miniprogram_path",
    ];

    /// Returns the message without validation.
    pub(super) fn draft(&self, usage: &mut UsageErrors) -> Result<MessageDraft, CliError> {
        let content = match &self.content_file {
            Some(path) => Some(content(path).unwrap_or_else(|error| {
                usage.add("--content-file", error);
                // A placeholder that is valid, so that the content has no second problem.
                "?".to_owned()
            })),
            None => self.content.clone(),
        };
        let miniprogram = match (&self.miniprogram_appid, &self.miniprogram_path) {
            (None, None) => None,
            (appid, pagepath) => Some(object([("appid", appid), ("pagepath", pagepath)])),
        };
        let mut message = object([
            ("touser", &self.to),
            ("template_id", &self.template),
            ("url", &self.url),
            ("scene", &self.scene),
            ("title", &self.title),
        ]);
        message.extend(miniprogram.map(|page| ("miniprogram".to_owned(), page.into())));
        let content = object([("value", &content), ("color", &self.color)]);
        message.insert("data".to_owned(), json!({ "content": content }));
        // Objects with text: this conversion cannot fail.
        serde_json::from_value(message.into()).map_err(CliError::unexpected)
    }
}

fn object<const N: usize>(members: [(&str, &Option<String>); N]) -> Map<String, Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    given.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn content(path: &Path) -> Result<String, String> {
    let bytes = Input::read(path, MAX_CONTENT_FILE_BYTES).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "must be UTF-8 text")?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    Ok(without_newline(text).to_owned())
}

/// Returns the flag for a field of the message.
pub(super) fn name(field: &'static str) -> &'static str {
    match field {
        "touser" => "--to",
        "template_id" => "--template",
        "scene" => "--scene",
        "title" => "--title",
        "data.content.value" => "--content",
        "data.content.color" => "--color",
        "url" => "--url",
        "miniprogram.appid" => "--miniprogram-appid",
        "miniprogram.pagepath" => "--miniprogram-path",
        other => other,
    }
}
