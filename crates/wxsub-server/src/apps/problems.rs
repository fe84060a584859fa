//! What is wrong with the server itself, for its operators.

use std::borrow::Cow;

use wxsub_api::{LedgerHealth, ServerProblem};
use wxsub_core::rfc3339;
use wxsub_proto::{Language, LocalizedText, Remedy, localized_text};

use super::ServerState;
use super::expiry::{certificate_warning, key_warnings};
use super::webhooks::replaced_warning;
use crate::state::metrics::FailingInbox;

/// How many attempts to take rows of an inbox fail in a row before that is a problem. They take some seconds.
const MIN_INBOX_FAILURES: u32 = 3;

impl ServerState {
    /// The problem of a ledger that takes no writes. The console has a section of its own for it.
    pub(crate) fn ledger_problem(&self) -> Option<ServerProblem> {
        (self.is_ledger_up() == Some(false)).then(|| problem("ledger", &ledger_warning()))
    }

    /// The problems of the server, the most urgent first. Each says what to do.
    pub(crate) fn problems(&self) -> Vec<ServerProblem> {
        let (snapshot, now) = (self.snapshot(), self.clock().now().wall);
        let audit = self.audit().problem().map(|text| problem("audit", &text));
        let reload = self.failed_reload().map(|at| problem("reload", &reload_warning(&rfc3339::format(at))));
        let certificate = snapshot.tls.as_ref().and_then(|tls| certificate_warning(tls, now));
        let certificate = certificate.map(|text| problem("certificate", &text));
        let open_files = self.open_files_warning().map(|text| problem("open_files", &text));
        let replaced = self.metrics().replaced_endpoints();
        let webhooks = (!replaced.is_empty()).then(|| problem("webhooks", &replaced_warning(&replaced)));
        let inboxes = self.metrics().failing_inboxes().into_iter();
        let inboxes = inboxes.filter(|(_, inbox)| inbox.failures >= MIN_INBOX_FAILURES);
        let inboxes = inboxes.map(|(name, inbox)| problem("inbox", &inbox_warning(&name, inbox)));
        let clients = snapshot.clients.iter().map(|client| &*client.config);
        let keys = key_warnings(clients, now).map(|text| problem("client_key", &text));
        let first = [audit, reload, certificate, open_files, webhooks].into_iter().flatten();
        first.chain(inboxes).chain(keys).collect()
    }
}

/// All these problems stay until an operator does something.
fn problem(kind: &'static str, text: &LocalizedText<String>) -> ServerProblem {
    ServerProblem {
        kind: Cow::Borrowed(kind),
        text: text.in_language(Language::English),
        text_zh: text.in_language(Language::Chinese),
        remedy: Remedy::FixConfig,
    }
}

fn ledger_warning() -> LocalizedText<String> {
    let (down, advice) = (LedgerHealth::DOWN, LedgerHealth::DOWN_ADVICE);
    localized_text!(
        "{down}; {advice}. The server goes on by itself when it is removed",
        "{down}；{advice}。原因消除后，服务器会自动恢复";
        down, advice
    )
}

fn reload_warning(at: &str) -> LocalizedText<String> {
    localized_text!(
        "the reload at {at} failed, and the configuration before it stays in use; correct what the log and \
         `wxsub serve --check` list, and reload again",
        "{at} 的重新加载失败，继续使用原来的配置；请按日志和 `wxsub serve --check` 的提示修改，然后重新加载"
    )
}

fn inbox_warning(name: &str, inbox: FailingInbox) -> LocalizedText<String> {
    let (since, error) = (rfc3339::format(inbox.since), inbox.error);
    localized_text!(
        "the rows of {name} have not been taken since {since}: {error}; the server tries again by itself",
        "自 {since} 起无法处理 {name} 中的行：{error}；服务器会自动重试";
        error
    )
}
