//! `wxsub consent`: the consent URL, its callback, and the key that signs requests.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;
use wxsub_core::ConsentVerifier;
use wxsub_core::consent::SigningKey;
use wxsub_proto::consent::CallbackExpectations;
use wxsub_proto::{
    BaseUrl, ConsentAction, ConsentCallback, ConsentRequest, HttpUrl, LocalizedText, ValidationError,
};
use wxsub_server::generate_api_key;

use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::input::Input;
use crate::language::{localized, shown};
use crate::output::Output;
use crate::{backend, console, environment};

/// Print a consent URL, verify its callback, or make a signing key.
#[derive(Debug, Subcommand)]
pub(crate) enum Consent {
    Url(Url),
    Verify(Verify),
    Key(NewKey),
}

impl Consent {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Url(url) => url.run(),
            Self::Verify(verify) => verify.run(),
            Self::Key(key) => key.run(),
        }
    }
}

/// Print the URL that asks a user for consent to one message.
///
/// The URL opens inside Weixin (Official Accounts). With --mobile, print the values for the mobile SDK as JSON instead.
#[derive(Debug, Args)]
pub(crate) struct Url {
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Template of the message
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    template: Option<String>,
    /// Scene of the consent: a number of your choice, 0 to 10000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    scene: Option<String>,
    /// Callback URL of your app; its domain must be registered with Weixin
    #[arg(long, value_name = "URL", conflicts_with = "mobile")]
    redirect: Option<String>,
    /// Value that the callback must return: random, at most 128 letters and digits, kept in the user's session
    #[arg(long, value_name = "R", conflicts_with = "session")]
    reserved: Option<String>,
    /// Sign the request for this session of the user. Within 10 minutes, `grant record --callback` accepts its callback
    #[arg(long, value_name = "S", requires = "signing_key_file", value_parser = NonEmptyStringValueParser::new())]
    session: Option<String>,
    /// File with the signing key; `consent key` makes one
    #[arg(long, value_name = "FILE", requires = "session", conflicts_with = "reserved")]
    signing_key_file: Option<PathBuf>,
    /// Print the values for the mobile SDK as JSON
    #[arg(long)]
    mobile: bool,
    /// Print one JSON object with the URL and its values
    #[arg(long)]
    json: bool,
}

/// The output with `--json`.
#[derive(Serialize)]
struct UrlOutput<'a> {
    url: String,
    #[serde(flatten)]
    request: &'a ConsentRequest,
}

impl Url {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let (request, web) = self.input()?;
        let url = match &web {
            Some((redirect, base)) => {
                let url =
                    UsageErrors::check(|usage| usage.collect("--redirect", request.consent_url(redirect)))?;
                Some(url.with_base_url(base))
            }
            None => None,
        };
        if request.reserved.is_none() {
            console::warning(localized!(
                "without --reserved or --session, a forged callback cannot be detected",
                "没有 --reserved 或 --session，无法识别伪造的回调"
            ));
        }
        let mut output = Output::new();
        match url {
            Some(url) if self.json => output.json(&UrlOutput { url: url.to_string(), request: &request }),
            Some(url) => output.line(url),
            None => output.json(&request),
        }
        Ok(output.end(ExitStatus::Success))
    }

    /// The request, and unless `--mobile` is given the callback URL and the base URL of the consent page.
    fn input(&self) -> Result<(ConsentRequest, Option<(HttpUrl, BaseUrl)>), CliError> {
        let mut usage = UsageErrors::default();
        let appid = backend::appid(self.appid.as_deref(), &mut usage);
        let template = usage.required("--template", self.template.as_deref());
        let scene = usage.required("--scene", self.scene.as_deref());
        let reserved = usage.optional("--reserved", self.reserved.as_deref());
        let web = match self.mobile {
            true => Some(None),
            false => {
                let redirect = usage.required("--redirect", self.redirect.as_deref());
                let base = backend::base(environment::MP_BASE, BaseUrl::MP, &mut usage);
                redirect.zip(base).map(Some)
            }
        };
        let input = appid.zip(template).zip(scene).zip(web);
        let (((appid, template_id), scene), web) = usage.finish(input)?;
        let request = match self.session.as_deref().zip(self.signing_key_file.as_deref()) {
            Some((session, path)) => {
                ConsentVerifier::new(appid, read_signing_key("--signing-key-file", path)?)
                    .issue(template_id, scene, session)
                    .map_err(CliError::unexpected)?
            }
            None => ConsentRequest { appid, scene, template_id, reserved },
        };
        Ok((request, web))
    }
}

/// Check a callback and print it as JSON.
///
/// Exits with 3 if the user cancelled. Exits with 2 if the callback is invalid or has other values than expected.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Callback: a URL, a query string, JSON or key:value lines; `-` reads standard input
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
    /// Reserved value of the consent request
    #[arg(long, value_name = "R")]
    expect_reserved: Option<String>,
    /// Scene of the consent request
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    expect_scene: Option<String>,
    /// Template of the consent request
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    expect_template: Option<String>,
}

/// So many bytes of a callback on standard input are read. A shorter one is too long already.
const MAX_CALLBACK_BYTES: u64 = 64 * 1024;

/// The output.
#[serde_with::skip_serializing_none]
#[derive(Serialize)]
struct VerifyOutput<'a> {
    #[serde(flatten)]
    callback: &'a ConsentCallback,
    /// `false` without `--expect-reserved`, else absent.
    verified: Option<bool>,
}

impl Verify {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let expected = self.expected()?;
        let callback = match self.text.as_str() {
            "-" => parse_callback(&String::from_utf8_lossy(&Input::read_beginning(
                Path::new("-"),
                MAX_CALLBACK_BYTES,
            )?))?,
            text => parse_callback(text)?,
        };
        expected.check(&callback).map_err(|error| rejected(&error.localized()))?;
        let is_verified = expected.reserved.is_some();
        if !is_verified {
            console::warning(localized!(
                "without --expect-reserved, a forged callback is not detected; check its reserved value before you use it",
                "没有 --expect-reserved，不会识别伪造的回调；使用之前请核对其中的 reserved"
            ));
        }
        let mut output = Output::new();
        output.json(&VerifyOutput { callback: &callback, verified: (!is_verified).then_some(false) });
        Ok(match callback.action {
            ConsentAction::Confirm { .. } => output.end(ExitStatus::Success),
            ConsentAction::Cancel => {
                console::note(localized!("the user cancelled; there is no grant", "用户取消了授权"));
                output.end(ExitStatus::Refused)
            }
        })
    }

    fn expected(&self) -> Result<CallbackExpectations, CliError> {
        UsageErrors::check(|usage| {
            Some(CallbackExpectations {
                reserved: usage.optional("--expect-reserved", self.expect_reserved.as_deref()),
                scene: usage.optional("--expect-scene", self.expect_scene.as_deref()),
                template_id: usage.optional("--expect-template", self.expect_template.as_deref()),
            })
        })
    }
}

/// Parses a callback.
pub(crate) fn parse_callback(text: &str) -> Result<ConsentCallback, CliError> {
    text.parse().map_err(|error: ValidationError| rejected(&error.localized()))
}

/// Make a key that signs consent requests.
///
/// All servers that make or verify requests need the same key. It is random text of 256 bits.
#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// Write the key to this file, which only its owner can read; there must be no such file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl NewKey {
    fn run(self) -> Result<ExitStatus, CliError> {
        let key = generate_api_key().map_err(CliError::unexpected)?;
        print_secret(key.expose_secret(), self.out.as_deref())
    }
}

/// Prints a secret, or writes it to a new file that `--out` names.
pub(super) fn print_secret(secret: &str, out: Option<&Path>) -> Result<ExitStatus, CliError> {
    let Some(path) = out else {
        let mut output = Output::new();
        output.line(secret);
        return Ok(output.end(ExitStatus::Success));
    };
    write_new(path, secret).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AlreadyExists => {
                localized!("the file exists; choose another name", "文件已存在；请换一个名称")
            }
            _ => error.to_string(),
        };
        let path = path.display();
        CliError::usage(localized!("--out: {path}: {why}", "--out：{path}：{why}"))
    })?;
    let path = path.display();
    console::note(localized!("written to {path}", "已写入 {path}"));
    Ok(ExitStatus::Success)
}

/// Reads the signing key of a flag.
pub(super) fn read_signing_key(flag: &str, path: &Path) -> Result<SigningKey, CliError> {
    SigningKey::from_file(path).map_err(|error| {
        let error = shown(&error.localized());
        CliError::usage(localized!("{flag}: {error}", "{flag}：{error}"))
    })
}

/// Writes one line to a new file that only its owner can read.
fn write_new(path: &Path, line: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = writeln!(file, "{line}").and_then(|()| file.sync_all());
    if written.is_err() {
        // A part of a secret is of no use, and the next try needs the name.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// The error for a callback that is invalid, or not the expected one.
pub(crate) fn rejected(cause: &LocalizedText<String>) -> CliError {
    let cause = shown(cause);
    CliError::usage(localized!("callback rejected: {cause}", "回调被拒绝：{cause}"))
}
