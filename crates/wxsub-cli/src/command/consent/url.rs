//! `wxsub consent url`: the URL that asks a user for consent.

use clap::Args;
use serde::Serialize;
use wxsub_proto::{BaseUrl, ConsentRequest, HttpUrl};

use crate::app;
use crate::console;
use crate::environment;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::usage::UsageErrors;

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
    #[arg(long, value_name = "R")]
    reserved: Option<String>,
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

/// The values of the flags.
struct Input {
    request: ConsentRequest,
    /// The callback URL and the base URL of the consent page; `None` with `--mobile`.
    web: Option<(HttpUrl, BaseUrl)>,
}

impl Url {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let Input { request, web } = self.input()?;
        let url = match &web {
            Some((redirect, base)) => {
                let mut usage = UsageErrors::default();
                let url = usage
                    .collect("--redirect", request.consent_url(redirect))
                    .map(|url| url.with_base_url(base));
                Some(usage.finish(url)?)
            }
            None => None,
        };
        if request.reserved.is_none() {
            console::warning("without --reserved, a forged callback cannot be detected");
        }
        let mut output = Output::new();
        match url {
            Some(url) if self.json => output.json(&UrlOutput { url: url.to_string(), request: &request }),
            Some(url) => output.line(url),
            None => output.json(&request),
        }
        Ok(output.end(ExitStatus::Success))
    }

    fn input(&self) -> Result<Input, CliError> {
        let mut usage = UsageErrors::default();
        let appid = app::appid(self.appid.as_deref(), &mut usage);
        let template = usage.required("--template", self.template.as_deref());
        let scene = usage.required("--scene", self.scene.as_deref());
        let reserved = usage.optional("--reserved", self.reserved.as_deref());
        let web = match self.mobile {
            true => Some(None),
            false => {
                let redirect = usage.required("--redirect", self.redirect.as_deref());
                let base = app::base(environment::MP_BASE, BaseUrl::MP, &mut usage);
                redirect.zip(base).map(Some)
            }
        };
        let input = appid.zip(template).zip(scene).zip(web).map(|(((appid, template), scene), web)| Input {
            request: ConsentRequest { appid, scene, template_id: template, reserved },
            web,
        });
        usage.finish(input)
    }
}
