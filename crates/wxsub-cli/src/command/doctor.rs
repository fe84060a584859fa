//! `wxsub doctor`: what is wrong here?

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

/// Find out what keeps messages from being sent: one line per check, with the cause and what to do.
///
/// Ends with the code of the first check that failed: 2 for what is to be corrected on this machine (configuration,
/// clock), 3 for what Weixin refused, 4 for what did not reach Weixin. It never sends a message, and it takes its token
/// from stable_token, whatever WXSUB_TOKEN_ENDPOINT says: that costs no other process its token. It asks Weixin itself, with the
/// AppSecret, so it is not for machines that use a control server (WXSUB_SERVER).
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// If WXSUB_TOKEN_ENDPOINT is token, fetch from there, though that ends the token that others use
    #[arg(long)]
    fetch: bool,
    /// The app, if not WXSUB_APPID
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Print one JSON object per check
    #[arg(long)]
    json: bool,
}

/// The rest cannot be looked at: what stands in its way has been told.
struct Aborted;

impl Doctor {
    /// Does it.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        let mut report = Report::new(self.json);
        // What stopped it has been told, and so will be what was not looked at because of it.
        let _: Result<(), Aborted> = self.examine(&mut report).await;
        Ok(report.end())
    }

    async fn examine(&self, report: &mut Report) -> Result<(), Aborted> {
        let patient = report.tell(Check::Configuration, self.patient())?;
        report.tell_anyway(Check::Dns, network::dns(&patient).await)?;
        let reply = report.tell(Check::Connection, network::connection(&patient).await)?;
        report.tell(Check::Weixin, network::weixin(&patient, &reply.raw))?;
        report.note(Check::Clock, clock::compare(&reply));
        let token = match credentials::token(&patient).await {
            Ok(token) => token,
            Err((check, fault)) => return report.tell(check, Finding::Failed(fault)),
        };
        report.note(Check::Address, Finding::Ok((), "Weixin takes calls from here".to_owned()));
        report.note(Check::Secret, Finding::Ok((), format!("it is the one of {}", patient.app.appid)));
        report.tell(Check::Token, token::works(&patient, &token).await)?;
        report.note(Check::Quota, token::sends_left(&patient, &token).await);
        Ok(())
    }

    /// Everything the environment says.
    fn patient(&self) -> Finding<DoctorContext> {
        if environment::uses_control_server() {
            let to_do = "run it where the AppSecret is; here, `wxsub token show` tries the control server";
            let cause =
                format!("{SERVER} or a key for it is set, but doctor asks Weixin itself, with the AppSecret");
            return Finding::Failed(CheckFailure::new(ExitStatus::Usage, Remedy::FixConfig, cause, to_do));
        }
        let mut usage = UsageErrors::default();
        let app = DirectConfig::read(self.appid.as_deref(), &mut usage);
        let app = match usage.finish(app) {
            Ok(app) => app,
            Err(failure) => {
                let to_do = "set it right; `wxsub --help` lists the variables";
                return Finding::Failed(CheckFailure::new(
                    ExitStatus::Usage,
                    Remedy::FixConfig,
                    &failure,
                    to_do,
                ));
            }
        };
        let classic = app.endpoint == TokenEndpoint::Token;
        if classic && self.fetch {
            app.warn_before_fetch();
        }
        let proxied = environment::value_lossy(PROXY).is_some();
        let ignored_proxy = ignored_proxy(app.bases.first(), environment::value_lossy).filter(|_| !proxied);
        let patient = DoctorContext {
            endpoint: if self.fetch { app.endpoint } else { TokenEndpoint::StableToken },
            skipped_classic_endpoint: classic && !self.fetch,
            proxied,
            ignored_proxy,
            secret_in: if environment::value_lossy(SECRET).is_some() { SECRET } else { SECRET_FILE },
            app,
        };
        let way = match patient.ignored_proxy {
            Some(name) => format!(", not through the proxy that {name} names: only {PROXY} counts"),
            None if patient.proxied => ", through a proxy".to_owned(),
            None => String::new(),
        };
        let told = format!(
            "app {}, its secret from {}, Weixin at {}{way}",
            patient.app.appid, patient.secret_in, patient.app.bases
        );
        Finding::Ok(patient, told)
    }
}

/// Whose complaint it is.
struct DoctorContext {
    app: DirectConfig,
    /// Where the token is fetched for the examination.
    endpoint: TokenEndpoint,
    /// Whether `/cgi-bin/token` would be asked if that were free of consequences.
    skipped_classic_endpoint: bool,
    proxied: bool,
    /// The variable that names a proxy which is not used.
    ignored_proxy: Option<&'static str>,
    /// The variable that has or names the secret.
    secret_in: &'static str,
}

impl DoctorContext {
    /// One exchange, and nothing is tried twice: what fails now and then is worth knowing.
    async fn ask(
        &self,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        self.ask_host(self.base(), request).await
    }

    async fn ask_host(
        &self,
        base: &BaseUrl,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        self.app.transport.execute(HttpRequest::new(base, request)?).await
    }

    /// The first host of Weixin's. The others are only reached for.
    fn base(&self) -> &BaseUrl {
        self.app.bases.first()
    }
}
