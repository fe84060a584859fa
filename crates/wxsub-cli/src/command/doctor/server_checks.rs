//! The checks of a control server: is it one, does it know the key, and what is the state of the app.

use std::time::Duration;

use wxsub_api::{AppStatus, LedgerHealth, ProblemKind, Readiness, path};
use wxsub_client::ControlServer;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_core::transport::{TransportError, TransportErrorKind};
use wxsub_proto::codec::{RawResponse, Request};
use wxsub_proto::{AppId, Operation, Remedy};

use super::network::Network;
use super::report::{Finding, Unsuccessful};
use crate::diagnosis::{Diagnosis, SecretPlace};
use crate::environment::SERVER;
use crate::error::ExitStatus;
use crate::language::{advice, localized, shown};

/// Maximum time to wait for the readiness.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of apps that are named to correct an AppID.
const MAX_NAMED_APPS: usize = 20;

/// Settings of the checks.
pub(super) struct ServerContext {
    pub(super) network: Network,
    /// `None` for all apps of the key.
    pub(super) appid: Option<AppId>,
    pub(super) server: ControlServer,
}

/// What the key may learn of the apps.
pub(super) enum AppAccess {
    /// The status of each, with the scope `admin`.
    Status(Vec<AppStatus>),
    /// Whether a token can be read.
    Token,
}

/// Requests the readiness, which needs no key. Any response is enough.
pub(super) async fn connect(context: &ServerContext) -> Finding<RawResponse<impl AsRef<[u8]> + use<>>> {
    let network = &context.network;
    let clock = SystemClock::new();
    let request = network.request(Request::get(path::READYZ, Vec::new()));
    let Some(response) = timeout_at(&clock, clock.now().mono + TIMEOUT, request).await else {
        let seconds = TIMEOUT.as_secs();
        let detail = localized!("no response within {seconds} s", "{seconds} 秒内没有响应");
        let error = TransportError::maybe_sent(TransportErrorKind::Timeout, detail);
        return Err(network.no_response(network.base(), &error).into());
    };
    Ok((response?, network.connection()))
}

/// Checks that the response is from a control server.
pub(super) fn check_server<B: AsRef<[u8]>>(response: &RawResponse<B>) -> Finding<Readiness> {
    let status = response.status;
    let readiness = serde_json::from_slice(response.body.as_ref()).map_err(|_| {
        Diagnosis::new(
            ExitStatus::NotSent,
            Remedy::Investigate,
            localized!(
                "the response is not from a control server: HTTP status {status}",
                "响应不是来自中控服务器：HTTP 状态码 {status}"
            ),
            localized!(
                "check {SERVER}; a proxy in front of the server must forward /readyz and /v1/",
                "请检查 {SERVER}；中控服务器前面的代理必须转发 /readyz 和 /v1/"
            ),
        )
    })?;
    Ok((readiness, localized!("the response is from a control server", "响应来自中控服务器")))
}

/// Checks that messages can be recorded.
pub(super) fn check_ledger(readiness: &Readiness) -> Finding<()> {
    match readiness.ledger {
        None => Err(no_ledger()),
        Some(LedgerHealth::Down) => Err(Diagnosis::new(
            ExitStatus::NotSent,
            Remedy::Investigate,
            shown(&LedgerHealth::DOWN),
            shown(&LedgerHealth::DOWN_ADVICE),
        )
        .into()),
        Some(_) => Ok(((), localized!("the ledger takes messages", "消息库可以写入"))),
    }
}

fn no_ledger() -> Unsuccessful {
    Unsuccessful::Skipped(localized!("the server has no ledger", "中控服务器没有消息库"))
}

/// Checks that the endpoints get their webhooks.
pub(super) async fn check_webhooks(context: &ServerContext, readiness: &Readiness) -> Vec<Finding<()>> {
    let endpoints = match context.server.webhooks().await {
        Ok(list) => list.endpoints,
        Err(error) => {
            return vec![Err(match error.kind() {
                Some(ProblemKind::NoLedger) => no_ledger(),
                Some(ProblemKind::Forbidden) => {
                    Unsuccessful::Skipped(needs_admin(&readiness.disabled_webhooks))
                }
                _ => Diagnosis::of_server_error(&error, ExitStatus::NotSent).into(),
            })];
        }
    };
    let problems =
        endpoints.iter().filter_map(|endpoint| Some(Diagnosis::of_endpoint(endpoint)?.about(&endpoint.name)));
    let failed: Vec<_> = problems.map(|problem| Err(problem.into())).collect();
    match (failed.is_empty(), endpoints.len()) {
        (false, _) => failed,
        (true, 0) => vec![Err(Unsuccessful::Skipped(localized!(
            "the server has no endpoint",
            "中控服务器没有配置 webhook endpoint"
        )))],
        (true, count) => {
            let detail = localized!("endpoints that get them: {count}", "正常的 endpoint：{count} 个");
            vec![Ok(((), detail))]
        }
    }
}

/// Why the endpoints are not checked. The readiness has names, and needs no scope.
fn needs_admin(disabled: &[String]) -> String {
    let names = disabled.join(", ");
    match disabled {
        [] => localized!("the scope admin shows the webhooks", "有 admin 这个 scope 才能查看 webhook"),
        _ => localized!(
            "the scope admin shows the webhooks; disabled endpoints: {names}",
            "有 admin 这个 scope 才能查看 webhook；已停用的 endpoint：{names}"
        ),
    }
}

/// Checks that the server knows the key.
pub(super) async fn check_key(context: &ServerContext) -> Finding<AppAccess> {
    match context.server.apps().await {
        Ok(list) => {
            let detail = localized!("the server knows the key", "中控服务器接受该密钥");
            Ok((AppAccess::Status(list.apps), detail))
        }
        Err(error) if error.kind() == Some(ProblemKind::Forbidden) => {
            let detail = localized!(
                "the server knows the key, which lacks the scope admin",
                "中控服务器接受该密钥；它没有 admin 这个 scope"
            );
            Ok((AppAccess::Token, detail))
        }
        Err(error) => Err(Diagnosis::of_server_error(&error, ExitStatus::NotSent).into()),
    }
}

/// Checks that the server can serve the app, or each app of the key if none is named.
pub(super) async fn check_apps(
    context: &ServerContext,
    access: AppAccess,
    readiness: &Readiness,
) -> Vec<Finding<()>> {
    match (access, &context.appid) {
        (AppAccess::Status(apps), None) if apps.is_empty() => vec![Err(Diagnosis::new(
            ExitStatus::NotSent,
            Remedy::FixConfig,
            localized!("the key may use no app of the server", "该密钥不能使用中控服务器的任何应用"),
            add_app(),
        )
        .into())],
        (AppAccess::Status(apps), None) => apps.iter().map(check_status).collect(),
        (AppAccess::Status(apps), Some(appid)) => {
            let app = apps.iter().find(|app| app.appid == *appid);
            vec![app.map_or_else(|| unknown_app(appid, &apps), check_status)]
        }
        (AppAccess::Token, Some(appid)) => vec![check_token(context, appid, readiness).await],
        (AppAccess::Token, None) => vec![Err(Unsuccessful::Skipped(localized!(
            "without the scope admin, the key cannot list the apps; name one with --appid",
            "该密钥没有 admin 这个 scope，无法列出应用；请用 --appid 指定一个"
        )))],
    }
}

fn check_status(app: &AppStatus) -> Finding<()> {
    let appid = &app.appid;
    let detail = match (Diagnosis::of_app(app).into_iter().next(), app.expires_in) {
        (Some(problem), _) => return Err(problem.about(appid.as_str()).into()),
        (None, Some(seconds)) => has_token(appid, seconds),
        (None, None) => localized!("{appid} has just started", "{appid} 刚刚启动"),
    };
    Ok(((), detail))
}

/// The app is not among those of the key.
fn unknown_app(appid: &AppId, apps: &[AppStatus]) -> Finding<()> {
    let known: Vec<_> = apps.iter().take(MAX_NAMED_APPS).map(|app| app.appid.as_str()).collect();
    let (known, left_out) = (known.join(", "), apps.len().saturating_sub(MAX_NAMED_APPS));
    let known = match (apps.len(), left_out) {
        (0, _) => localized!("no app", "无"),
        (_, 0) => known,
        _ => localized!("{known} and {left_out} more", "{known} 等，另有 {left_out} 个"),
    };
    let cause = localized!(
        "the server does not have {appid}, or the key may not use it; the key may use: {known}",
        "中控服务器没有 {appid}，或该密钥无权使用它；该密钥可以使用：{known}"
    );
    Err(Diagnosis::new(ExitStatus::NotSent, Remedy::FixConfig, cause, add_app()).into())
}

fn add_app() -> String {
    localized!(
        "correct the AppID; or add the app to the configuration of the server, and to the apps of this client",
        "请改正 AppID；或在中控服务器配置中添加该应用，并加入该客户端的 apps"
    )
}

/// Checks that the token of the app can be read, and that the server can fetch the next one. The readiness needs no scope.
async fn check_token(context: &ServerContext, appid: &AppId, readiness: &Readiness) -> Finding<()> {
    let unhealthy = readiness.apps.iter().find(|app| app.appid == *appid);
    match (context.server.token(appid).await, unhealthy.and_then(|app| app.remedy)) {
        (Ok(token), Some(remedy)) => {
            let (seconds, advice) = (token.lifetime().as_secs(), advice(remedy));
            let cause = localized!(
                "{appid} has an access_token for {seconds} s, and the server cannot fetch the next one",
                "{appid} 的 access_token 还可用 {seconds} 秒，但中控服务器无法获取下一个"
            );
            let to_do = localized!(
                "{advice}; the log of the server has the cause",
                "{advice}；原因见中控服务器的日志"
            );
            Err(Diagnosis::new(ExitStatus::NotSent, remedy, cause, to_do).into())
        }
        (Ok(token), None) => Ok(((), has_token(appid, token.lifetime().as_secs()))),
        (Err(error), _) if error.kind() == Some(ProblemKind::Forbidden) => {
            let error = shown(&error.localized());
            Err(Unsuccessful::Skipped(localized!(
                "{error}; the scope admin or token:read shows the state of an app",
                "{error}；有 admin 或 token:read 这个 scope 才能查看应用状态"
            )))
        }
        (Err(error), _) => Err(match error.api_error() {
            Some(refusal) => {
                Diagnosis::of_refusal(appid, &refusal, Operation::FetchToken, SecretPlace::Server)
            }
            None => Diagnosis::of_server_error(&error, ExitStatus::NotSent),
        }
        .into()),
    }
}

fn has_token(appid: &AppId, seconds: u64) -> String {
    localized!(
        "{appid} has an access_token, which may be cached for {seconds} s",
        "{appid} 有 access_token，可缓存 {seconds} 秒"
    )
}
