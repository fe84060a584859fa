//! `wxsub key`: client keys for a control server.

use clap::{Args, Subcommand};
use serde::Serialize;
use wxsub_server::{ApiKeyDigest, generate_api_key};

use crate::console;
use crate::error::{CliError, ExitStatus};
use crate::language::localized;
use crate::output::print;

/// Create client keys for a control server.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    New(New),
}

/// Create a client key.
///
/// The key is shown once. The printed lines for the server's configuration have only its digest.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Name of the client: 1 to 64 letters, digits, dots, hyphens or underscores
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct NewKey<'a> {
    name: &'a str,
    key: &'a str,
    key_sha256: String,
}

impl Key {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitStatus, CliError> {
        let Self::New(New { name, json }) = self;
        if !wxsub_server::is_client_name(&name) {
            return Err(CliError::usage(localized!(
                "--name: must be 1 to 64 letters, digits, dots, hyphens or underscores",
                "--name：必须是 1 到 64 个字母、数字、点、连字符或下划线"
            )));
        }
        let key = generate_api_key().map_err(CliError::unexpected)?;
        let digest = ApiKeyDigest::of(&key);
        let made = NewKey { name: &name, key: key.expose_secret(), key_sha256: digest.to_string() };
        let exit = print(json, &made, |output| output.line(made.key));
        if json {
            return Ok(exit);
        }
        console::note(localized!(
            "# The key is for the client and is not shown again. Lines for the server's configuration:",
            "# 密钥交给客户端，不会再次显示。服务器配置中的内容："
        ));
        console::note("[[clients]]");
        console::note(format_args!("name = \"{name}\""));
        console::note(format_args!("key_sha256 = \"{digest}\""));
        console::note(localized!(
            "apps = []    # AppIDs, or [\"*\"] for all",
            "apps = []    # AppID；[\"*\"] 表示全部"
        ));
        console::note(
            "scopes = []  # token:read, token:report, message:send, consent, outbox:write, outbox:read, outbox:decide, admin",
        );
        Ok(exit)
    }
}
