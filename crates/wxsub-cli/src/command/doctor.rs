//! `wxsub doctor`: finds what prevents sends.

mod checks;
mod network;
mod report;
mod server_checks;

use clap::Args;
use wxsub_api::LedgerHealth;
use wxsub_core::token::TokenEndpoint;
use wxsub_proto::Remedy;

use self::checks::DoctorContext;
use self::network::Network;
use self::report::{Aborted, Check, Finding, Report};
use self::server_checks::ServerContext;
use crate::backend::{DirectConfig, ServerAccess, appid, has_appid};
use crate::describe::no_fetch_with_server;
use crate::diagnosis::Diagnosis;
use crate::environment::{self, API_BASE, SECRET, SECRET_FILE, SERVER};
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::localized;

/// Find out why messages cannot be sent: one line per check, with the cause and what to do.
///
/// doctor exits with the code of the first failed check: 2 for this machine (configuration, clock), 3 for a refusal by Weixin,
/// 4 if Weixin was not reached. It never sends a message. It fetches its token from stable_token, even if WXSUB_TOKEN_ENDPOINT is
/// token, so the tokens of other processes stay valid.
///
/// With WXSUB_SERVER it checks the control server, its ledger, the client key, and the token and the messages of the app there. The
/// key needs the scope admin or token:read. Without an AppID it checks all apps of the key, which needs the scope admin, as the
/// check of the webhooks does.
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
        // The report has the failed check. `finish` adds the skipped ones.
        if environment::uses_control_server() {
            let mut report = Report::new(&Check::SERVER, self.json);
            let _: Result<(), Aborted> = self.check_server(&mut report).await;
            return Ok(report.finish());
        }
        let mut report = Report::new(&Check::WEIXIN, self.json);
        let _: Result<(), Aborted> = self.check_weixin(&mut report).await;
        Ok(report.finish())
    }

    async fn check_weixin(&self, report: &mut Report) -> Result<(), Aborted> {
        let context = report.require(Check::Configuration, self.context())?;
        report.require_unless_skipped(Check::Dns, context.network.resolve_hosts().await)?;
        let response = report.require(Check::Connection, checks::connect(&context).await)?;
        report.require(Check::Weixin, checks::check_weixin(&context, &response.raw))?;
        report.optional(Check::Clock, checks::compare_clocks(&response));
        let token = match checks::fetch_token(&context).await {
            Ok(token) => token,
            Err((check, failure)) => return report.require(check, Err(failure.into())),
        };
        let detail = localized!("Weixin accepts calls from this address", "微信接受来自本机 IP 的请求");
        report.optional(Check::Address, Ok(((), detail)));
        let appid = &context.app.appid;
        report.optional(Check::Secret, Ok(((), localized!("it belongs to {appid}", "与 {appid} 匹配"))));
        report.require(Check::Token, checks::check_token(&context, &token).await)?;
        report.optional(Check::Quota, checks::check_quota(&context, &token).await);
        Ok(())
    }

    async fn check_server(&self, report: &mut Report) -> Result<(), Aborted> {
        let context = report.require(Check::Configuration, self.server_context())?;
        report.require_unless_skipped(Check::Dns, context.network.resolve_hosts().await)?;
        let response = report.require(Check::Connection, server_checks::connect(&context).await)?;
        let readiness = report.require(Check::Server, server_checks::check_server(&response))?;
        report.optional(Check::Ledger, server_checks::check_ledger(&readiness));
        let access = report.require(Check::Key, server_checks::check_key(&context).await)?;
        for finding in server_checks::check_apps(&context, access, &readiness).await {
            report.optional(Check::App, finding);
        }
        // The ledger has them.
        if readiness.ledger != Some(LedgerHealth::Down) {
            for finding in server_checks::check_webhooks(&context, &readiness).await {
                report.optional(Check::Webhooks, finding);
            }
        }
        Ok(())
    }

    /// Reads the settings for Weixin.
    fn context(&self) -> Finding<DoctorContext> {
        let app = UsageErrors::check(|usage| DirectConfig::read(self.appid.as_deref(), usage));
        let app = app.map_err(|error| misconfigured(&error))?;
        let is_classic = app.endpoint == TokenEndpoint::Token;
        if is_classic && self.fetch {
            app.warn_before_fetch();
        }
        let context = DoctorContext {
            network: Network::new(app.bases.clone(), app.transport.clone(), API_BASE),
            endpoint: if self.fetch { app.endpoint } else { TokenEndpoint::StableToken },
            skipped_classic_endpoint: is_classic && !self.fetch,
            secret_in: if environment::value_lossy(SECRET).is_some() { SECRET } else { SECRET_FILE },
            app,
        };
        let (appid, bases, proxy) = (&context.app.appid, &context.app.bases, context.network.proxy());
        let secret_in = context.secret_in;
        let detail = localized!(
            "app {appid}, secret from {secret_in}, Weixin at {bases}{proxy}",
            "应用 {appid}，AppSecret 来自 {secret_in}，微信接口地址 {bases}{proxy}"
        );
        Ok((context, detail))
    }

    /// Reads the settings for a control server.
    fn server_context(&self) -> Finding<ServerContext> {
        let mut usage = UsageErrors::default();
        if self.fetch {
            usage.add("--fetch", no_fetch_with_server());
        }
        let appid = match has_appid(self.appid.as_deref()) {
            true => appid(self.appid.as_deref(), &mut usage).map(Some),
            false => Some(None),
        };
        let access = ServerAccess::read(&mut usage);
        let read = usage.finish(appid.zip(access));
        let (appid, access) = read.map_err(|error| misconfigured(&error))?;
        let ServerAccess { base, transport, server } = access;
        let network = Network::new(base.into(), transport, SERVER);
        let (base, proxy) = (network.base(), network.proxy());
        let app = match &appid {
            Some(appid) => localized!("app {appid}", "应用 {appid}"),
            None => localized!("all apps", "所有应用"),
        };
        let detail =
            localized!("{app}, control server at {base}{proxy}", "{app}，中控服务器地址 {base}{proxy}");
        Ok((ServerContext { network, appid, server }, detail))
    }
}

fn misconfigured(error: &CliError) -> Diagnosis {
    let to_do = localized!(
        "correct it; `wxsub --help` lists the variables",
        "请修改；`wxsub --help` 列出所有环境变量"
    );
    Diagnosis::new(ExitStatus::Usage, Remedy::FixConfig, error, to_do)
}
