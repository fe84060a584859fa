//! `wxsub doctor`: finds what prevents sends.

mod check;
mod check_failure;
mod clock;
mod credentials;
mod network;
mod report;
mod token;

use clap::Args;
use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::{HttpRequest, TransportError};
use wxsub_proto::codec::{RawResponse, Request};
use wxsub_proto::{BaseUrl, Remedy};

use self::check::Check;
use self::check_failure::CheckFailure;
use self::report::{Finding, Report};
use crate::app::DirectConfig;
use crate::environment::{self, PROXY, SECRET, SECRET_FILE, SERVER};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::usage::UsageErrors;
use wxsub_server::ignored_proxy;

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

/// The remaining checks cannot run. The failed check is already reported.
struct Aborted;

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
        report.require_unless_skipped(Check::Dns, network::dns(&context).await)?;
        let response = report.require(Check::Connection, network::connection(&context).await)?;
        report.require(Check::Weixin, network::weixin(&context, &response.raw))?;
        report.optional(Check::Clock, clock::compare(&response));
        let token = match credentials::token(&context).await {
            Ok(token) => token,
            Err((check, failure)) => return report.require(check, Finding::Failed(failure)),
        };
        report.optional(Check::Address, Finding::Ok((), "Weixin accepts calls from this address".to_owned()));
        report.optional(Check::Secret, Finding::Ok((), format!("it belongs to {}", context.app.appid)));
        report.require(Check::Token, token::check_token(&context, &token).await)?;
        report.optional(Check::Quota, token::check_quota(&context, &token).await);
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

/// Settings of the checks.
struct DoctorContext {
    app: DirectConfig,
    /// Endpoint that the token is fetched from.
    endpoint: TokenEndpoint,
    /// Whether `WXSUB_TOKEN_ENDPOINT` is `token`, but `--fetch` is not given.
    skipped_classic_endpoint: bool,
    uses_proxy: bool,
    /// Variable with a proxy that is not used.
    ignored_proxy: Option<&'static str>,
    /// Variable with the AppSecret or the path of its file.
    secret_in: &'static str,
}

impl DoctorContext {
    /// Sends one request to the first host without retries, so that rare failures are visible.
    async fn request(
        &self,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        self.request_from(self.base(), request).await
    }

    /// Sends one request to this host.
    async fn request_from(
        &self,
        base: &BaseUrl,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        self.app.transport.execute(HttpRequest::new(base, request)?).await
    }

    /// The first host of Weixin's API. The other hosts are only connected to.
    fn base(&self) -> &BaseUrl {
        self.app.bases.first()
    }
}
