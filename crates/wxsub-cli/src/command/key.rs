//! `wxsub key`: keys for the clients of a control server.

use clap::{Args, Subcommand};
use serde::Serialize;
use wxsub_server::{KeyDigest, new_key};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::talk;
use crate::wrong_usage::WrongUsage;

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
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let What::New(new) = self.what;
        new.run()
    }
}

impl New {
    fn run(&self) -> Result<Exit, Failure> {
        if !wxsub_server::is_client_name(&self.name) {
            let mut usage = WrongUsage::default();
            usage.add("--name", "must be 1 to 64 letters, digits, dots, hyphens or underscores");
            return usage.end(None);
        }
        let key = new_key().map_err(Failure::unexpected)?;
        let digest = KeyDigest::of(&key);
        let mut output = Output::new();
        if self.json {
            output.json(&Made { name: &self.name, key: key.expose(), key_sha256: digest.to_string() });
            return Ok(output.end(Exit::Done));
        }
        output.line(key.expose());
        let exit = output.end(Exit::Done);
        talk::note("# The key is for the client, and is not shown again. For the server's configuration:");
        talk::note("[[clients]]");
        talk::note(format_args!("name = \"{}\"", self.name));
        talk::note(format_args!("key_sha256 = \"{digest}\""));
        talk::note("apps = []    # AppIDs, or \"*\"");
        talk::note("scopes = []  # token:read, token:report, message:send, admin");
        Ok(exit)
    }
}
