//! The command line as a whole. Each command reads its own flags.

use clap::Parser;

use crate::command::Command;

/// One-time subscription messages of Weixin: consent links, answers, messages and access tokens.
///
/// Data goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "wxsub", version, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
pub(crate) struct Arguments {
    /// What to do.
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
  WXSUB_SECRET          its AppSecret; or
  WXSUB_SECRET_FILE     the file that holds it
  WXSUB_SERVER          instead of the AppSecret: the control server (wxsub serve) that send and token use, with
  WXSUB_KEY             the client key for it; or
  WXSUB_KEY_FILE        the file that holds it
  WXSUB_TOKEN_ENDPOINT  stable_token (default), which disturbs nobody; or token, where each fetch ends the token before it
  WXSUB_API_BASE        Weixin's API [default: https://api.weixin.qq.com]; or up to 8 hosts, separated by commas: the next
                        one is used while the first cannot be reached
  WXSUB_MP_BASE         Weixin's consent page, for consent url [default: https://mp.weixin.qq.com]
  WXSUB_ALLOW_HTTP      1: plain http:// to any host, for test networks; secrets then travel in the open
  WXSUB_PROXY           the proxy to go through; HTTPS_PROXY and the like are not used
  WXSUB_CA_FILE         a PEM file with the certificate authorities to trust instead of this machine's
  RUST_LOG              what to log on standard error [default: warn; serve: info]
  WXSUB_LOG_FORMAT      text (default), or json: one object a line

Exit codes:
  0  done
  1  a bug, or something unexpected
  2  wrong usage or invalid input; a rejected callback
  3  Weixin answered with an error code; consent verify: the user cancelled
  4  certainly not sent (no access token, or no connection): safe to try again
  5  maybe sent: do not blindly repeat it

A file of messages ends with the largest code of its lines. A line that was not tried, because the batch stopped, counts
as 4; so does a line refused with 45009 or 45011. A posted message whose result could not be written counts as 5. doctor
ends with the code of the first check that failed.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_definition_has_no_contradictions() {
        Arguments::command().debug_assert();
    }
}
