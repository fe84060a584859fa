//! `wxsub webhook`: verify a webhook, make a secret, and list and redeliver failed webhooks.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use wxsub_api::{FailedWebhook, ProblemKind, WebhookEndpoint};
use wxsub_client::ControlServerError;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::secret_file::SecretFile;
use wxsub_core::webhook::{WebhookHeaders, WebhookSecret};

use super::consent::print_secret;
use crate::backend::ServerAccess;
use crate::console;
use crate::describe::server_error;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::input::{Input, with_advice};
use crate::language::{localized, shown};
use crate::output::Output;

/// Verify a webhook, make a secret, or see what a control server could not deliver.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    Verify(Verify),
    Secret(NewSecret),
    List(List),
    Redeliver(Redeliver),
}

impl Webhook {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Verify(verify) => verify.run(),
            Self::Secret(secret) => secret.run(),
            Self::List(list) => list.run().await,
            Self::Redeliver(redeliver) => redeliver.run().await,
        }
    }
}

/// Check the signature of a webhook, and say what is wrong with it.
///
/// Standard input has the body, byte for byte as it came. Exits with 2 if the webhook is not genuine.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// File with the secret of the endpoint
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// Header webhook-id
    #[arg(long, value_name = "ID")]
    id: String,
    /// Header webhook-timestamp
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    timestamp: String,
    /// Header webhook-signature
    #[arg(long, value_name = "SIGNATURES")]
    signature: String,
}

/// Maximum length of a body, in bytes. The bodies of the server are shorter.
const MAX_BODY_BYTES: u64 = 64 * 1024;

impl Verify {
    fn run(self) -> Result<ExitStatus, CliError> {
        let secret = read_secret("--secret-file", &self.secret_file)?;
        let body = Input::read(Path::new("-"), MAX_BODY_BYTES)?;
        let headers = WebhookHeaders { id: &self.id, timestamp: &self.timestamp, signature: &self.signature };
        let verified = secret.verify(headers, &body, SystemClock::new().now().wall);
        verified.map_err(|error| {
            let cause = shown(&error.localized());
            CliError::usage(localized!("webhook rejected: {cause}", "webhook 被拒绝：{cause}"))
        })?;
        console::note(localized!("the webhook is genuine", "webhook 校验通过"));
        Ok(ExitStatus::Success)
    }
}

fn read_secret(flag: &str, path: &Path) -> Result<WebhookSecret, CliError> {
    let wrong = |text: String| CliError::usage(localized!("{flag}: {text}", "{flag}：{text}"));
    if path.to_string_lossy().starts_with("whsec_") {
        let text = localized!(
            "is the secret itself, which other users can see; write it to a file, and name that file",
            "填写的是密钥本身，其他用户可以看到；请把密钥写入文件，这里填写文件路径"
        );
        return Err(wrong(text));
    }
    let shown_path = path.display();
    let file = SecretFile::read_once(path).map_err(|error| {
        let error = with_advice(&error);
        wrong(localized!("{shown_path} cannot be read: {error}", "{shown_path} 无法读取：{error}"))
    })?;
    file.text.parse().map_err(|error: wxsub_core::webhook::InvalidWebhookSecret| {
        let error = shown(&error.localized());
        wrong(localized!("{shown_path}: {error}", "{shown_path}：{error}"))
    })
}

/// Make the secret of an endpoint.
///
/// The control server signs with it (secret_files), and the endpoint verifies with it.
#[derive(Debug, Args)]
pub(crate) struct NewSecret {
    /// Write the secret to this file, which only its owner can read; there must be no such file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl NewSecret {
    fn run(self) -> Result<ExitStatus, CliError> {
        let secret = WebhookSecret::generate().map_err(CliError::unexpected)?;
        print_secret(&secret.expose_secret(), self.out.as_deref())
    }
}

/// Show the endpoints of a control server, and the webhooks whose last attempt failed.
///
/// It needs WXSUB_SERVER, and a client key with the scope admin.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print one JSON object per endpoint
    #[arg(long)]
    json: bool,
}

impl List {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let server = UsageErrors::check(ServerAccess::read)?.server;
        let list = server.webhooks().await.map_err(|error| server_error(&error, ExitStatus::NotSent))?;
        let mut output = Output::new();
        for endpoint in &list.endpoints {
            if self.json { output.json(endpoint) } else { print(endpoint, &mut output) }
        }
        if list.endpoints.is_empty() {
            console::note(localized!("the server has no [[webhooks]]", "服务器没有配置 [[webhooks]]"));
        }
        Ok(output.end(ExitStatus::Success))
    }
}

/// Prints an endpoint: a line with its numbers, and one for each failed webhook.
fn print(endpoint: &WebhookEndpoint, output: &mut Output) {
    let WebhookEndpoint { name, disabled_at, pending, dead, failed, .. } = endpoint;
    output.line(format_args!("{name} pending {pending} dead {dead}"));
    if let Some(at) = disabled_at {
        output.line(localized!(
            "  disabled since {at}: it responded with 410; when it is back, run `wxsub webhook redeliver {name}`",
            "  自 {at} 起停用：它返回了 410；恢复后请运行 `wxsub webhook redeliver {name}`"
        ));
    }
    for FailedWebhook { id, event, attempts, error, due_at, .. } in failed {
        let next = match due_at {
            None => "dead",
            // It waits until the endpoint is enabled.
            Some(_) if disabled_at.is_some() => "waits",
            Some(due_at) => due_at.as_str(),
        };
        output.line(format_args!("  {id} {event} attempts {attempts} next {next} {error}"));
    }
}

/// Enable an endpoint, and try its failed webhooks again now, also those that are dead.
///
/// It needs WXSUB_SERVER, and a client key with the scope admin.
#[derive(Debug, Args)]
pub(crate) struct Redeliver {
    /// Name of the endpoint, as `wxsub webhook list` shows it
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
}

impl Redeliver {
    async fn run(self) -> Result<ExitStatus, CliError> {
        let server = UsageErrors::check(ServerAccess::read)?.server;
        let due = server.redeliver_webhooks(&self.endpoint).await.map_err(|error| match &error {
            ControlServerError::Problem { problem: Some(problem), .. }
                if problem.kind == ProblemKind::NotFound && !problem.detail.is_empty() =>
            {
                let detail = &problem.detail;
                let text = localized!(
                    "{detail}",
                    "没有这个 endpoint，请用 `wxsub webhook list` 查看名称；服务器的说明：{detail}"
                );
                CliError::usage(format_args!("ENDPOINT: {text}"))
            }
            error => server_error(error, ExitStatus::NotSent),
        })?;
        console::note(localized!(
            "failed webhooks that are tried again: {due}; `wxsub webhook list` shows what becomes of them",
            "重新投递失败的 webhook：{due} 个；结果见 `wxsub webhook list`"
        ));
        Ok(ExitStatus::Success)
    }
}
