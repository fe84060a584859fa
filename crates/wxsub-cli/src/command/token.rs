//! `wxsub token`: shows or refreshes the access token.

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

/// Show or refresh the access token.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Show(show::Show),
    Refresh(refresh::Refresh),
}

/// Options of the output.
#[derive(Debug, Args)]
struct ShowOptions {
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print the access token too
    #[arg(long)]
    reveal: bool,
}

/// The output.
#[derive(Serialize)]
struct TokenOutput<'a> {
    appid: &'a AppId,
    endpoint: &'static str,
    fingerprint: String,
    expires_in: u64,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
}

impl Token {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self.command {
            TokenCommand::Show(show) => show.run().await,
            TokenCommand::Refresh(refresh) => refresh.run().await,
        }
    }
}

impl ShowOptions {
    /// Prints the token.
    fn print(
        &self,
        appid: &AppId,
        endpoint: &'static str,
        token: &CachedToken,
        now: ClockReading,
    ) -> ExitStatus {
        let remaining = token.remaining(now);
        let values = TokenOutput {
            appid,
            endpoint,
            fingerprint: token.fingerprint().to_string(),
            expires_in: remaining.as_secs(),
            generation: token.generation().get(),
            access_token: self.reveal.then(|| token.token().expose_secret()),
        };
        let mut output = Output::new();
        if self.json {
            output.json(&values);
        } else {
            output.line(format_args!("appid         {appid}"));
            output.line(format_args!("endpoint      {}", values.endpoint));
            output.line(format_args!("fingerprint   {}", values.fingerprint));
            output.line(format_args!("expires in    {}", minutes(remaining)));
            output.line(format_args!("generation    {}", values.generation));
            if let Some(access_token) = values.access_token {
                output.line(format_args!("access token  {access_token}"));
            }
        }
        output.end(ExitStatus::Success)
    }
}

/// Formats a duration in seconds and in minutes.
fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{seconds} s ({} min {} s)", seconds / 60, seconds % 60)
}
