//! `wxsub status`: the problems of a control server, and the state of its apps.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use wxsub_api::{AppOutbox, AppStatus, ProblemKind};
use wxsub_proto::{ErrCode, LocalizedText, Remedy};

use crate::backend::ServerAccess;
use crate::console;
use crate::describe::server_error;
use crate::diagnosis::Diagnosis;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::{localized, shown};
use crate::output::Output;

/// Show what is wrong with a control server, with each of its apps and its webhooks, since when, and what to do.
///
/// The problems of the server itself come first: its ledger, its audit, its configuration, its certificate and its client keys.
/// An app has the problems of its token, and of its messages: a pause, a late queue, and messages that wait for a decision. It needs
/// WXSUB_SERVER, and a client key with the scope admin. It needs no AppSecret.
///
/// status exits with 0 if nothing needs action, with 3 if Weixin refuses the token calls of an app, and with 4 for another
/// problem of an app, of the server or of an endpoint of webhooks. The largest code counts.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print one JSON object per problem of the server, per app, and per endpoint of webhooks that needs action
    #[arg(long)]
    json: bool,
}

/// An app in JSON: its members in `GET /v1/apps`, and its problems.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    app: &'a AppStatus,
    problems: Vec<Problem<'a>>,
}

#[serde_with::skip_serializing_none]
#[derive(Serialize)]
struct Problem<'a> {
    cause: &'a str,
    remedy: Remedy,
    advice: &'a str,
    errcode: Option<ErrCode>,
}

impl Status {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        let server = UsageErrors::check(ServerAccess::read)?.server;
        let list = server.apps().await.map_err(|error| server_error(&error, ExitStatus::NotSent))?;
        let mut output = Output::new();
        let (mut exit, mut in_need) = (ExitStatus::Success, 0);
        for problem in &list.problems {
            exit = exit.max(ExitStatus::NotSent);
            if self.json {
                output.json(&BTreeMap::from([("server", problem)]));
            } else {
                let kind = &problem.kind;
                output.line(localized!("server: {kind}", "中控服务器：{kind}"));
                print_fact(shown(&LocalizedText::new(&problem.text, &problem.text_zh)), &mut output);
            }
        }
        for app in &list.apps {
            let problems = Diagnosis::of_app(app);
            exit = problems.iter().fold(exit, |exit, problem| exit.max(problem.exit));
            in_need += usize::from(!problems.is_empty());
            if self.json {
                let problems = problems.iter().map(|Diagnosis { cause, remedy, to_do, errcode, .. }| {
                    Problem { cause, remedy: *remedy, advice: to_do, errcode: *errcode }
                });
                output.json(&Line { app, problems: problems.collect() });
            } else {
                print(app, &problems, &mut output);
            }
        }
        let endpoints = match server.webhooks().await {
            Ok(list) => list.endpoints,
            // A server without a ledger has none.
            Err(error) if error.kind() == Some(ProblemKind::NoLedger) => Vec::new(),
            // The rest of the status is known all the same.
            Err(error) => {
                exit = exit.max(server_error(&error, ExitStatus::NotSent).report());
                Vec::new()
            }
        };
        let mut troubled = 0;
        for endpoint in &endpoints {
            let Some(problem) = Diagnosis::of_endpoint(endpoint) else { continue };
            exit = exit.max(problem.exit);
            troubled += 1;
            if self.json {
                output.json(&BTreeMap::from([("webhook", endpoint)]));
            } else {
                let name = &endpoint.name;
                output.line(localized!("webhooks: {name}", "webhook endpoint：{name}"));
                print_problem(&problem, &mut output);
            }
        }
        if !self.json {
            note_summary(list.problems.len(), (in_need, list.apps.len()), troubled);
        }
        Ok(output.end(exit))
    }
}

/// Says how many problems the server has, how many of all apps need action, and how many endpoints of webhooks.
fn note_summary(problems: usize, (in_need, all): (usize, usize), troubled: usize) {
    if problems > 0 {
        console::note(localized!("problems of the server: {problems}", "中控服务器的问题：{problems} 个"));
    }
    console::note(localized!(
        "apps that need action: {in_need} of {all}",
        "共 {all} 个应用，{in_need} 个需要处理"
    ));
    if troubled > 0 {
        console::note(localized!(
            "endpoints of webhooks that need action: {troubled}",
            "需要处理的 webhook endpoint：{troubled} 个"
        ));
    }
}

/// Prints an app: one line with its state, and one for each fact about its problems.
fn print(app: &AppStatus, problems: &[Diagnosis], output: &mut Output) {
    let token = match app.expires_in {
        Some(seconds) => format!("expires_in {seconds} s"),
        None => localized!("no access_token", "没有 access_token"),
    };
    output.line(format_args!("{} {}, {}, {token}", app.appid, app.state, app.token_endpoint));
    let mut fact = |text: String| print_fact(&text, output);
    if app.state_file_broken {
        let appid = &app.appid;
        fact(localized!(
            "the state file could not be read at start and was renamed to {appid}.broken",
            "启动时无法读取状态文件，已改名为 {appid}.broken"
        ));
    }
    if let Some(since) = app.error.as_ref().and_then(|error| error.since.as_ref()) {
        fact(localized!("failing since: {since}", "开始失败的时间：{since}"));
    }
    if let Some(since) = app.store.as_ref().map(|store| &store.since) {
        fact(localized!("token store failing since: {since}", "access_token 存储开始出错的时间：{since}"));
    }
    if let Some(outbox) = app.outbox.as_ref().filter(|outbox| outbox.queued > 0) {
        fact(queue_fact(outbox));
    }
    problems.iter().for_each(|problem| print_problem(problem, output));
}

/// How many messages are queued, how late they are, and what they wait for.
fn queue_fact(outbox: &AppOutbox) -> String {
    let AppOutbox { queued, oldest_due_s, waiting_for, waits_until, .. } = outbox;
    let late = oldest_due_s.map(|seconds| {
        localized!("; the oldest has been due for {seconds} s", "；最早该发送的一条已等待 {seconds} 秒")
    });
    let waits = waiting_for.as_ref().map(|why| match waits_until {
        Some(until) => localized!("; they wait: {why}, until {until}", "；等待原因：{why}，直到 {until}"),
        None => localized!("; they wait: {why}", "；等待原因：{why}"),
    });
    let (late, waits) = (late.unwrap_or_default(), waits.unwrap_or_default());
    localized!("queued messages: {queued}{late}{waits}", "排队的消息：{queued} 条{late}{waits}")
}

/// Prints the cause of a problem, and what to do.
fn print_problem(problem: &Diagnosis, output: &mut Output) {
    let Diagnosis { cause, to_do, rid, .. } = problem;
    print_fact(&localized!("cause: {cause}", "原因：{cause}"), output);
    print_fact(&localized!("what to do: {to_do}", "处理建议：{to_do}"), output);
    if let Some(rid) = rid {
        print_fact(
            &localized!("trace id for Weixin's support: {rid}", "rid（联系微信客服时提供）：{rid}"),
            output,
        );
    }
}

fn print_fact(text: &str, output: &mut Output) {
    output.line(format_args!("  {text}"));
}
