//! What is wrong and what to do, for an operator: of a check by doctor, and of an app of a control server.

use std::fmt::Display;
use std::net::IpAddr;

use wxsub_api::{AppError, AppOutbox, AppStatus, ProblemKind, StoreProblem, WebhookEndpoint};
use wxsub_client::ControlServerError;
use wxsub_core::store::StoreErrorKind;
use wxsub_proto::{ApiError, AppId, ErrCode, LocalizedText, Operation, Remedy, TraceId};

use crate::environment::{APPID, CA_FILE, KEY, SERVER};
use crate::error::ExitStatus;
use crate::language::{advice, localized, shown};

/// Cause and remedy of a problem.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) exit: ExitStatus,
    pub(crate) remedy: Remedy,
    pub(crate) cause: String,
    pub(crate) to_do: String,
    pub(crate) errcode: Option<ErrCode>,
    pub(crate) rid: Option<TraceId>,
    pub(crate) ip: Option<IpAddr>,
    /// The app or the endpoint of webhooks that has the problem, if a check finds it in one of several.
    pub(crate) subject: Option<String>,
}

/// How long a due message or webhook may wait, in seconds, as in the alert `WxsubOutboxLag`.
const MAX_LAG_S: u64 = 300;

/// Where the AppSecret of a refused call is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SecretPlace {
    /// On this machine, in this variable or in the file that it names.
    Variable(&'static str),
    /// In the configuration of a control server.
    Server,
    /// At the token service that gives a control server the tokens of the app.
    TokenService,
}

impl SecretPlace {
    /// That of an app of a control server.
    fn of(app: &AppStatus) -> Self {
        if app.token_endpoint == "token_url" { Self::TokenService } else { Self::Server }
    }
}

impl Diagnosis {
    /// Creates a diagnosis without an errcode.
    pub(crate) fn new(exit: ExitStatus, remedy: Remedy, cause: impl Display, to_do: impl Display) -> Self {
        let (cause, to_do) = (cause.to_string(), to_do.to_string());
        Self { exit, remedy, cause, to_do, errcode: None, rid: None, ip: None, subject: None }
    }

    /// The problem of one of several apps or endpoints, by its name.
    pub(crate) fn about(self, name: &str) -> Self {
        let cause = &self.cause;
        let cause = localized!("{name}: {cause}", "{name}：{cause}");
        Self { cause, subject: Some(name.to_owned()), ..self }
    }

    /// The diagnosis of a call that Weixin refused.
    pub(crate) fn of_refusal(
        appid: &AppId,
        refusal: &ApiError,
        operation: Operation,
        secret: SecretPlace,
    ) -> Self {
        let (code, ip) = (refusal.errcode(), refusal.blocked_ip());
        let meaning = shown(&code.meaning(operation));
        let address = ip.map(|ip| match secret {
            SecretPlace::Variable(_) => {
                localized!("; Weixin sees this machine as {ip}", "；微信看到的本机 IP 是 {ip}")
            }
            SecretPlace::Server => {
                localized!("; Weixin sees the server as {ip}", "；微信看到的中控服务器 IP 是 {ip}")
            }
            SecretPlace::TokenService => {
                localized!("; Weixin sees the token service as {ip}", "；微信看到的 token 服务 IP 是 {ip}")
            }
        });
        let address = address.unwrap_or_default();
        Self {
            errcode: Some(code),
            rid: refusal.trace_id().cloned(),
            ip,
            ..Self::new(
                ExitStatus::Refused,
                code.remedy(operation),
                format_args!("{meaning}{address} ({refusal})"),
                advise(appid, refusal, operation, secret),
            )
        }
    }

    /// The problems of an app of a control server, the most urgent first.
    pub(crate) fn of_app(app: &AppStatus) -> Vec<Self> {
        let mut problems: Vec<_> = app.error.iter().map(|error| Self::of_app_error(app, error)).collect();
        if let Some(from) = &app.in_doubt_from {
            problems.push(Self::new(
                ExitStatus::NotSent,
                Remedy::RetryLater,
                localized!(
                    "the response to a token call was lost; the access_token may become invalid about one minute after {from}",
                    "获取 access_token 的响应丢失；{from} 约一分钟之后，当前 access_token 可能失效"
                ),
                check_network(),
            ));
        } else if app.in_doubt {
            problems.push(Self::new(
                ExitStatus::NotSent,
                Remedy::FixConfig,
                localized!(
                    "the stored access_token is from the future, so its age is unknown",
                    "存储中的 access_token 来自未来的时间，无法判断已使用多久"
                ),
                localized!(
                    "compare the clocks of the servers, and set them with NTP",
                    "请核对各服务器的时间，并用 NTP 校准"
                ),
            ));
        }
        problems.extend(app.store.as_ref().map(Self::of_store));
        problems.extend(app.outbox.iter().flat_map(|outbox| Self::of_outbox(&app.appid, outbox)));
        problems
    }

    fn of_outbox(appid: &AppId, outbox: &AppOutbox) -> Vec<Self> {
        let undecided = (outbox.undecided > 0).then(|| {
            let undecided = outbox.undecided;
            Self::new(
                ExitStatus::NotSent,
                Remedy::Investigate,
                localized!(
                    "messages may have been sent and wait for a decision: {undecided}",
                    "可能已发出、等待裁定的消息：{undecided} 条"
                ),
                localized!(
                    "run `wxsub outbox list --appid {appid} --undecided`, then `wxsub outbox decide ID` for each",
                    "请运行 `wxsub outbox list --appid {appid} --undecided`，再逐条运行 `wxsub outbox decide ID`"
                ),
            )
        });
        Self::of_queue(appid, outbox).into_iter().chain(undecided).collect()
    }

    /// The problem of queued messages that do not go on. A pause of a minute and one for want of a token end by themselves; the
    /// latter's cause is a problem of its own.
    fn of_queue(appid: &AppId, outbox: &AppOutbox) -> Option<Self> {
        let AppOutbox { waits_until, next_probe_at, paused_by, paused_at, note, oldest_due_s, .. } = outbox;
        let resume = format!("wxsub outbox resume --appid {appid}");
        let known = |text: &Option<String>| text.clone().unwrap_or_default();
        let (remedy, cause, to_do, errcode) = match outbox.waiting_for.as_deref() {
            Some("paused") => {
                let (by, since) = (known(paused_by), known(paused_at));
                let note = note
                    .as_ref()
                    .filter(|note| !note.is_empty())
                    .map(|note| localized!(" ({note})", "（{note}）"));
                let note = note.unwrap_or_default();
                let cause = localized!(
                    "{by} has paused the app since {since}{note}; its messages wait until an operator resumes it",
                    "{by} 自 {since} 起暂停了该应用{note}；恢复之前，消息一直等待"
                );
                let to_do =
                    localized!("run `{resume}` when they may go on", "可以继续发送时，请运行 `{resume}`");
                (Remedy::FixConfig, cause, to_do, None)
            }
            Some("quota") => {
                let (until, probe) = (known(waits_until), known(next_probe_at));
                let cause = localized!(
                    "errcode 45009, the daily quota is used up; messages wait until {until}, midnight in Beijing; one tries at {probe}",
                    "errcode 45009，当日额度已用完；消息等到 {until}（北京时间零点）；{probe} 试发一条"
                );
                let to_do = localized!(
                    "nothing if they may wait; else clear the app's quota in Weixin's console (at most ten times a month), then run `{resume}`",
                    "可以等待就无需处理；否则请在微信后台清零该应用的额度（每月最多十次），然后运行 `{resume}`"
                );
                (Remedy::SlowDown, cause, to_do, Some(ErrCode::DAILY_QUOTA))
            }
            _ if oldest_due_s.is_some_and(|seconds| seconds >= MAX_LAG_S) => {
                let cause = localized!("queued messages are late", "排队的消息发送过慢");
                let to_do = localized!(
                    "first solve the other problems of the app; then raise rate_per_s or concurrency of the app, or start a server",
                    "请先解决该应用的其他问题；否则请调高该应用的 rate_per_s 或 concurrency，或增加一台服务器"
                );
                (Remedy::Investigate, cause, to_do, None)
            }
            _ => return None,
        };
        Some(Self { errcode, ..Self::new(ExitStatus::NotSent, remedy, cause, to_do) })
    }

    /// The problem of an endpoint of webhooks that is disabled, has webhooks that no server attempts, or has dead letters.
    pub(crate) fn of_endpoint(endpoint: &WebhookEndpoint) -> Option<Self> {
        let WebhookEndpoint { name, disabled_at, pending, dead, oldest_due_s, .. } = endpoint;
        let overdue_s = oldest_due_s.filter(|seconds| *seconds > MAX_LAG_S);
        let (cause, to_do) = match (disabled_at, overdue_s) {
            (Some(at), _) => (
                localized!(
                    "disabled since {at}: it responded with 410; {pending} webhooks wait, and none is lost",
                    "自 {at} 起停用：它返回了 410；{pending} 个 webhook 在等待，不会丢失"
                ),
                localized!(
                    "ask its owner, then run `wxsub webhook redeliver {name}`",
                    "请与该 endpoint 的负责人确认后运行 `wxsub webhook redeliver {name}`"
                ),
            ),
            (None, Some(seconds)) => (
                localized!(
                    "webhooks have been due for {seconds} s, and no server attempts to deliver them",
                    "有 webhook 已到投递时间 {seconds} 秒，但没有服务器投递"
                ),
                localized!(
                    "make sure that a server runs whose [[webhooks]] have this endpoint with the same url; if one does, the endpoint is too slow",
                    "请确认有服务器在运行，且其 [[webhooks]] 中有该 endpoint 且 url 相同；如果有，则是该 endpoint 响应太慢"
                ),
            ),
            (None, None) if *dead > 0 => (
                localized!(
                    "{dead} webhooks were not delivered in three days and are dead letters",
                    "{dead} 个 webhook 三天内没有投递成功，成为死信"
                ),
                localized!(
                    "`wxsub webhook list` says why; mend it, then run `wxsub webhook redeliver {name}`",
                    "原因见 `wxsub webhook list`；修复后运行 `wxsub webhook redeliver {name}`"
                ),
            ),
            (None, None) => return None,
        };
        Some(Self::new(ExitStatus::NotSent, Remedy::FixConfig, cause, to_do))
    }

    fn of_store(problem: &StoreProblem) -> Self {
        let StoreProblem { kind, text, remedy, .. } = problem;
        let known = StoreErrorKind::ALL.iter().find(|known| known.as_str() == kind);
        let (cause, to_do) = match known {
            Some(kind) => {
                // The text is made of the kind, the cause and the advice.
                let cause = text.strip_prefix(&format!("{}: ", kind.localized())).unwrap_or(text);
                let cause = cause.strip_suffix(&format!("; {}", kind.advice())).unwrap_or(cause);
                let (kind, advice) = (shown(&kind.localized()), shown(&kind.advice()));
                (localized!("{kind}: {cause}", "{kind}：{cause}"), advice.to_owned())
            }
            None => (
                localized!("the token store failed: {text}", "access_token 存储出错：{text}"),
                localized!(
                    "check the disk of state_dir, or Redis and the network to it",
                    "请检查 state_dir 所在磁盘，或 Redis 及其网络"
                ),
            ),
        };
        Self::new(ExitStatus::NotSent, *remedy, cause, to_do)
    }

    fn of_app_error(app: &AppStatus, error: &AppError) -> Self {
        let text = LocalizedText::new(error.text.as_str(), error.text_zh.as_str());
        match error.errcode {
            Some(errcode) => {
                // The text is made of the errcode and Weixin's text.
                let prefix = format!("errcode {errcode}: ");
                let errmsg = error.text.split_once(&prefix).map_or(error.text.as_str(), |(_, errmsg)| errmsg);
                let refusal = ApiError::new(errcode, errmsg);
                Self::of_refusal(&app.appid, &refusal, Operation::FetchToken, SecretPlace::of(app))
            }
            None => {
                let to_do = match (error.remedy, SecretPlace::of(app)) {
                    (Remedy::RetryLater, SecretPlace::TokenService) => localized!(
                        "the server keeps trying; check the token service of token_url, and the network to it",
                        "中控服务器会继续重试；请检查 token_url 指定的 token 服务，以及到它的网络"
                    ),
                    (Remedy::RetryLater, _) => check_network(),
                    (Remedy::Investigate, _) => localized!(
                        "if a client reported a token, the audit log names the client; otherwise check what answers in Weixin's place, such as a proxy",
                        "如果是客户端上报了 access_token，审计日志中有它的名字；否则请检查是否有代理等代替微信返回了响应"
                    ),
                    (remedy, _) => advice(remedy).to_owned(),
                };
                Self::new(ExitStatus::NotSent, error.remedy, shown(&text), to_do)
            }
        }
    }

    /// The diagnosis of a failed call of a control server. `lost` is the exit status if the call may have taken effect.
    pub(crate) fn of_server_error(error: &ControlServerError, lost: ExitStatus) -> Self {
        let exit = if error.may_have_taken_effect() { lost } else { ExitStatus::NotSent };
        Self::new(exit, error.remedy(), shown(&error.localized()), advise_about_server(error))
    }
}

/// What to do about a failed call of a control server.
fn advise_about_server(error: &ControlServerError) -> String {
    match error {
        ControlServerError::InvalidResponse { .. }
        | ControlServerError::Problem { problem: None, status: 404, .. } => localized!(
            "check that {SERVER} is the base URL of a control server",
            "请检查 {SERVER} 是否为中控服务器的地址"
        ),
        ControlServerError::NotReached(error) if error.is_config_error() => localized!(
            "check {SERVER}; put the certificate authority of the server into {CA_FILE}; check the end of the server's certificate, and this machine's clock",
            "请检查 {SERVER}；把签发该服务器证书的 CA 证书写入 {CA_FILE} 指定的文件；检查服务器证书是否过期，以及本机时间"
        ),
        ControlServerError::NotReached(_) => localized!(
            "check that the server runs, {SERVER}, and the network to it; then try again",
            "请检查服务器是否在运行、{SERVER} 是否正确、到服务器的网络是否正常，然后重试"
        ),
        ControlServerError::Problem { problem: Some(problem), .. } => match problem.kind {
            ProblemKind::Unauthorized => localized!(
                "check {KEY}: it may have been replaced, or have expired; or the server has not reloaded its configuration, or does not allow this address (its audit log says which)",
                "请检查 {KEY}：该密钥可能已更换或过期；或者服务器没有重新加载配置，或不允许本机地址访问（见审计日志）"
            ),
            ProblemKind::Forbidden => localized!(
                "change this client in the configuration of the server, and reload the server",
                "请修改中控服务器配置中的该客户端，然后重新加载配置"
            ),
            ProblemKind::NotFound => localized!(
                "check the AppID and what the command names; {SERVER} must be the base URL of the server",
                "请检查 AppID 和命令中的名称；{SERVER} 必须是中控服务器的地址"
            ),
            _ => advice(error.remedy()).to_owned(),
        },
        _ => advice(error.remedy()).to_owned(),
    }
}

/// What to do if the server does not reach Weixin.
fn check_network() -> String {
    localized!(
        "the server keeps trying; check the network, the DNS and the proxy between the server and Weixin",
        "中控服务器会继续重试；请检查它与微信之间的网络、DNS 和代理"
    )
}

/// What to do about a refusal: specific if possible, else the general advice.
fn advise(appid: &AppId, refusal: &ApiError, operation: Operation, secret: SecretPlace) -> String {
    let code = refusal.errcode();
    match (operation, code, secret) {
        (
            Operation::FetchToken,
            ErrCode::INVALID_CREDENTIAL | ErrCode::INVALID_APPSECRET,
            SecretPlace::Variable(variable),
        ) => localized!(
            "update the AppSecret of {appid} (read from {variable}); a reset in Weixin's console invalidates the previous one",
            "请更新 {appid} 的 AppSecret（来自 {variable}）；在微信后台重置后，原 AppSecret 立即失效"
        ),
        (
            Operation::FetchToken,
            ErrCode::INVALID_CREDENTIAL | ErrCode::INVALID_APPSECRET,
            SecretPlace::Server,
        ) => {
            localized!(
                "write the new AppSecret of {appid} into the file of secret_file on the server, and reload the server \
                 (restart it, if it has secret_env); a reset in Weixin's console invalidates the previous one",
                "请把 {appid} 的新 AppSecret 写入中控服务器上 secret_file 指定的文件，然后重新加载配置\
                 （使用 secret_env 时需要重启）；在微信后台重置后，原 AppSecret 立即失效"
            )
        }
        (
            Operation::FetchToken,
            ErrCode::INVALID_CREDENTIAL | ErrCode::INVALID_APPSECRET | ErrCode::INVALID_APPID,
            SecretPlace::TokenService,
        ) => localized!(
            "correct AppID and AppSecret of {appid} at the token service of token_url, which passed on this error",
            "请在 token_url 指定的 token 服务中更正 {appid} 的 AppID 和 AppSecret；该错误由它转达"
        ),
        (Operation::FetchToken, ErrCode::INVALID_APPID, SecretPlace::Variable(_)) => localized!(
            "correct {APPID} or --appid: {appid} is unknown to Weixin",
            "请修改 {APPID} 或 --appid：微信没有 AppID {appid}"
        ),
        (Operation::FetchToken, ErrCode::INVALID_APPID, SecretPlace::Server) => localized!(
            "correct the appid in the configuration of the server: {appid} is unknown to Weixin",
            "请修改中控服务器配置中的 appid：微信没有 AppID {appid}"
        ),
        (_, ErrCode::SECRET_FROZEN, _) => localized!(
            "unfreeze the AppSecret in Weixin's console, then wait ten minutes",
            "请在微信后台解冻 AppSecret，十分钟后再试"
        ),
        (_, ErrCode::IP_NOT_ALLOWED, _) => match (refusal.blocked_ip(), secret) {
            (Some(ip), _) => localized!(
                "add {ip} to the app's IP allow-list in Weixin's console",
                "请在微信后台把 {ip} 加入该应用的 IP 白名单"
            ),
            (None, SecretPlace::Server) => localized!(
                "add the IP address of the server to the app's IP allow-list in Weixin's console",
                "请在微信后台把中控服务器的 IP 加入该应用的 IP 白名单"
            ),
            (None, SecretPlace::TokenService) => localized!(
                "add the IP address of the token service to the app's IP allow-list in Weixin's console",
                "请在微信后台把 token 服务的 IP 加入该应用的 IP 白名单"
            ),
            (None, SecretPlace::Variable(_)) => shown(&code.advice(operation)).to_owned(),
        },
        _ => shown(&code.advice(operation)).to_owned(),
    }
}
