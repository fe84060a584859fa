//! `wxsub link`: what to ask the user with.

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

/// Print the link that asks a user for one message.
///
/// It opens inside Weixin (Official Accounts). With --mobile: the values for the mobile SDK instead, as JSON.
#[derive(Debug, Args)]
pub(crate) struct Link {
    /// The app that asks, if not WXSUB_APPID
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// The template of the message to come
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    template: Option<String>,
    /// The occasion: 0 to 10000, a number of your own
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    scene: Option<String>,
    /// Where the user is sent back to with the answer; its domain is registered with Weixin
    #[arg(long, value_name = "URL", conflicts_with = "mobile")]
    redirect: Option<String>,
    /// What must come back with the answer: at most 128 letters and digits, random, remembered in the user's session
    #[arg(long, value_name = "R")]
    reserved: Option<String>,
    /// Print the values for the mobile SDK, as JSON
    #[arg(long)]
    mobile: bool,
    /// Print one JSON object: the link and what it asks for
    #[arg(long)]
    json: bool,
}

/// The link as it is printed for programs.
#[derive(Serialize)]
struct Told<'a> {
    link: String,
    #[serde(flatten)]
    request: &'a ConsentRequest,
}

/// A link that can be printed.
struct Ready {
    request: ConsentRequest,
    web: Option<(HttpUrl, BaseUrl)>,
}

impl Link {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let Ready { request, web } = self.ready()?;
        let link = match &web {
            Some((redirect, base)) => {
                let mut usage = UsageErrors::default();
                let link = usage
                    .collect("--redirect", request.web_link(redirect))
                    .map(|link| link.with_base_url(base));
                Some(usage.finish(link)?)
            }
            None => None,
        };
        if request.reserved.is_none() {
            console::warning("without --reserved nobody can tell a genuine answer from a forged one");
        }
        let mut output = Output::new();
        match link {
            Some(link) if self.json => output.json(&Told { link: link.to_string(), request: &request }),
            Some(link) => output.line(link),
            None => output.json(&request),
        }
        Ok(output.end(ExitStatus::Success))
    }

    fn ready(&self) -> Result<Ready, CliError> {
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
        let ready = appid.zip(template).zip(scene).zip(web).map(|(((appid, template), scene), web)| {
            let mut request = ConsentRequest::new(appid, template, scene);
            request.reserved = reserved;
            Ready { request, web }
        });
        usage.finish(ready)
    }
}
