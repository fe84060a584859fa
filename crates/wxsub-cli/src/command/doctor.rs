//! `wxsub doctor`: finds what prevents sends.

mod checks;
mod report;

use clap::Args;
use wxsub_core::token::TokenEndpoint;
use wxsub_proto::Remedy;
use wxsub_server::ignored_proxy;

use self::checks::DoctorContext;
use self::report::{Aborted, Check, CheckFailure, Finding, Report};
use crate::backend::DirectConfig;
use crate::environment::{self, PROXY, SECRET, SECRET_FILE, SERVER};
use crate::error::{CliError, ExitStatus, UsageErrors};

/// Find out why messages cannot be sent: one line per check, with the cause and what to do.
///
/// doctor exits with the code of the first failed check: 2 for this machine (configuration, clock), 3 for a refusal by Weixin,
/// 4 if Weixin was not reached. It never sends a message. It fetches its token from stable_token, even if WXSUB_TOKEN_ENDPOINT is
/// token, so the tokens of other processes stay valid. It calls Weixin with the AppSecret, so it does not work with a control
/// server (WXSUB_SERVER).
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Fetch from /cgi-bin/token if WXSUB_TOKEN_ENDPOINT is token, which invalidates the token that other processes use
    #[arg(long)]
    fetch: bool,
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Print one JSON object per check
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut report = Report::new(self.json);
        // The report has the failed check. `finish` adds the skipped ones.
        let _: Result<(), Aborted> = self.run_checks(&mut report).await;
        Ok(report.finish())
    }

    async fn run_checks(&self, report: &mut Report) -> Result<(), Aborted> {
        let context = report.require(Check::Configuration, self.context())?;
        report.require_unless_skipped(Check::Dns, checks::resolve_hosts(&context).await)?;
        let response = report.require(Check::Connection, checks::connect(&context).await)?;
        report.require(Check::Weixin, checks::check_weixin(&context, &response.raw))?;
        report.optional(Check::Clock, checks::compare_clocks(&response));
        let token = match checks::fetch_token(&context).await {
            Ok(token) => token,
            Err((check, failure)) => return report.require(check, Finding::Failed(failure)),
        };
        report.optional(Check::Address, Finding::Ok((), "Weixin accepts calls from this address".to_owned()));
        report.optional(Check::Secret, Finding::Ok((), format!("it belongs to {}", context.app.appid)));
        report.require(Check::Token, checks::check_token(&context, &token).await)?;
        report.optional(Check::Quota, checks::check_quota(&context, &token).await);
        Ok(())
    }

    /// Reads the settings.
    fn context(&self) -> Finding<DoctorContext> {
        if environment::uses_control_server() {
            let to_do =
                "run doctor on the machine with the AppSecret; `wxsub token show` tests the control server";
            let cause = format!("{SERVER} or its key is set, but doctor calls Weixin with the AppSecret");
            return Finding::Failed(CheckFailure::new(ExitStatus::Usage, Remedy::FixConfig, cause, to_do));
        }
        let mut usage = UsageErrors::default();
        let app = DirectConfig::read(self.appid.as_deref(), &mut usage);
        let app = match usage.finish(app) {
            Ok(app) => app,
            Err(error) => {
                let to_do = "correct it; `wxsub --help` lists the variables";
                return Finding::Failed(CheckFailure::new(
                    ExitStatus::Usage,
                    Remedy::FixConfig,
                    &error,
                    to_do,
                ));
            }
        };
        let is_classic = app.endpoint == TokenEndpoint::Token;
        if is_classic && self.fetch {
            app.warn_before_fetch();
        }
        let uses_proxy = environment::value_lossy(PROXY).is_some();
        let ignored_proxy =
            ignored_proxy(app.bases.first(), environment::value_lossy).filter(|_| !uses_proxy);
        let context = DoctorContext {
            endpoint: if self.fetch { app.endpoint } else { TokenEndpoint::StableToken },
            skipped_classic_endpoint: is_classic && !self.fetch,
            uses_proxy,
            ignored_proxy,
            secret_in: if environment::value_lossy(SECRET).is_some() { SECRET } else { SECRET_FILE },
            app,
        };
        let proxy = match context.ignored_proxy {
            Some(name) => format!(", without the proxy in {name}: only {PROXY} is used"),
            None if context.uses_proxy => ", through a proxy".to_owned(),
            None => String::new(),
        };
        let detail = format!(
            "app {}, secret from {}, Weixin at {}{proxy}",
            context.app.appid, context.secret_in, context.app.bases
        );
        Finding::Ok(context, detail)
    }
}
