//! `wxsub key`: keys for the clients of a control server.

use clap::{Args, Subcommand};
use serde::Serialize;
use wxsub_server::{ApiKeyDigest, generate_api_key};

use crate::console;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::usage::UsageErrors;

/// Make keys for the clients of a control server.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    New(New),
}

/// Make a key: it is shown once, and the lines for the server's configuration know it by its digest.
#[derive(Debug, Args)]
struct New {
    /// The client's name: 1 to 64 letters, digits, dots, hyphens or underscores
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    key: &'a str,
    key_sha256: String,
}

impl Key {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let What::New(new) = self.what;
        new.run()
    }
}

impl New {
    fn run(&self) -> Result<ExitStatus, CliError> {
        if !wxsub_server::is_client_name(&self.name) {
            let mut usage = UsageErrors::default();
            usage.add("--name", "must be 1 to 64 letters, digits, dots, hyphens or underscores");
            return usage.finish(None);
        }
        let key = generate_api_key().map_err(CliError::unexpected)?;
        let digest = ApiKeyDigest::of(&key);
        let mut output = Output::new();
        if self.json {
            output.json(&Made { name: &self.name, key: key.expose_secret(), key_sha256: digest.to_string() });
            return Ok(output.end(ExitStatus::Success));
        }
        output.line(key.expose_secret());
        let exit = output.end(ExitStatus::Success);
        console::note("# The key is for the client, and is not shown again. For the server's configuration:");
        console::note("[[clients]]");
        console::note(format_args!("name = \"{}\"", self.name));
        console::note(format_args!("key_sha256 = \"{digest}\""));
        console::note("apps = []    # AppIDs, or \"*\"");
        console::note("scopes = []  # token:read, token:report, message:send, admin");
        Ok(exit)
    }
}
