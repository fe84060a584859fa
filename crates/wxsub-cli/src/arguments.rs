//! The command line. Each command defines its own flags.

use clap::Parser;

use crate::command::Command;

/// Send one-time subscription messages of Weixin, with their consent and access tokens.
///
/// Data goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "wxsub", version, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
pub(crate) struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str =
    "New here? Run `wxsub demo`. `wxsub --help` lists environment variables and exit codes.";

const AFTER_LONG_HELP: &str = "\
New here? Run `wxsub demo`: it needs no AppID and no network.

Something does not work? Run `wxsub doctor`.

Environment:
  WXSUB_APPID           the AppID, unless --appid is given
  WXSUB_SECRET          the AppSecret
  WXSUB_SECRET_FILE     or the path of a file with the AppSecret
  WXSUB_SERVER          instead of the AppSecret: base URL of a control server (wxsub serve), for send and token
  WXSUB_KEY             the client key for the control server
  WXSUB_KEY_FILE        or the path of a file with the client key
  WXSUB_TOKEN_ENDPOINT  stable_token (default), or token, where each fetch invalidates the previous access token
  WXSUB_API_BASE        Weixin's API [default: https://api.weixin.qq.com]; up to 8 base URLs, separated by commas:
                        the next one is used while the first cannot be reached
  WXSUB_MP_BASE         Weixin's consent page, for consent url [default: https://mp.weixin.qq.com]
  WXSUB_ALLOW_HTTP      1: plain http:// to any host, for test networks; secrets are then sent unencrypted
  WXSUB_PROXY           URL of a proxy; HTTPS_PROXY and similar variables are not used
  WXSUB_CA_FILE         path of a PEM file with the certificate authorities to trust instead of this machine's
  RUST_LOG              log filter [default: warn; serve: info]; logs go to standard error
  WXSUB_LOG_FORMAT      text (default), or json: one object per line

Exit codes:
  0  success
  1  a bug or an unexpected error
  2  wrong usage or invalid input; a rejected callback
  3  Weixin responded with an error code; consent verify: the user cancelled
  4  certainly not sent (no access token or no connection): safe to try again
  5  maybe sent: do not blindly repeat it

A batch (send --file) exits with the largest code of its lines. A line that was not tried counts as 4, and so does a line
that was refused with 45009 or 45011. A posted message whose result could not be written counts as 5.
doctor exits with the code of the first failed check.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn command_line_definition_is_valid() {
        Arguments::command().debug_assert();
    }
}
