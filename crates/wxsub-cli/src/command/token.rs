//! `wxsub token`: the access token, without showing it.

mod control_server;
mod refresh;
mod show;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use wxsub_core::clock::ClockReading;
use wxsub_core::token::CachedToken;
use wxsub_proto::AppId;

use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::output::Output;

/// Show or renew the access token.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Show(show::Show),
    Refresh(refresh::Refresh),
}

/// How a token is shown.
#[derive(Debug, Args)]
struct ShowOptions {
    /// The app, if not WXSUB_APPID
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print the access token itself, too
    #[arg(long)]
    reveal: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Shown<'a> {
    appid: &'a AppId,
    endpoint: &'static str,
    fingerprint: String,
    expires_in: u64,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
}

impl Token {
    /// Does it.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self.what {
            What::Show(show) => show.run().await,
            What::Refresh(refresh) => refresh.run().await,
        }
    }
}

impl ShowOptions {
    /// Prints this token.
    fn print(
        &self,
        appid: &AppId,
        endpoint: &'static str,
        issued: &CachedToken,
        now: ClockReading,
    ) -> ExitStatus {
        let remaining = issued.remaining(now);
        let shown = Shown {
            appid,
            endpoint,
            fingerprint: issued.fingerprint().to_string(),
            expires_in: remaining.as_secs(),
            generation: issued.generation().get(),
            access_token: self.reveal.then(|| issued.token().expose_secret()),
        };
        let mut output = Output::new();
        if self.json {
            output.json(&shown);
        } else {
            output.line(format_args!("appid         {appid}"));
            output.line(format_args!("endpoint      {}", shown.endpoint));
            output.line(format_args!("fingerprint   {}", shown.fingerprint));
            output.line(format_args!("expires in    {}", minutes(remaining)));
            output.line(format_args!("generation    {}", shown.generation));
            if let Some(token) = shown.access_token {
                output.line(format_args!("access token  {token}"));
            }
        }
        output.end(ExitStatus::Success)
    }
}

/// A life, for people.
fn minutes(life: Duration) -> String {
    let seconds = life.as_secs();
    format!("{seconds} s ({} min {} s)", seconds / 60, seconds % 60)
}
