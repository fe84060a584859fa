//! Health of the server and its apps.

use serde::{Deserialize, Serialize};
use wxsub_proto::{AppId, LocalizedText, Remedy, named_enum};

named_enum! {
    /// Whether the app has a usable token, and whether fetching works.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[non_exhaustive]
    pub enum AppHealth {
        /// There is a token, and fetching works.
        Ok = "ok",
        /// There is a token, but fetching the next one fails, or the token may expire early.
        Degraded = "degraded",
        /// There is no token yet, and no fetch has failed.
        Starting = "starting",
        /// There is no token, and fetching fails.
        Down = "down",
    }
}

/// Whether the server can serve tokens: the response of [`READYZ`](crate::path::READYZ).
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// The status of the whole server.
    pub status: ReadinessStatus,
    /// The apps that are not healthy.
    pub apps: Vec<UnhealthyApp>,
    /// Whether messages can be recorded. Absent without a ledger.
    pub ledger: Option<LedgerHealth>,
    /// The endpoints that get no webhooks because they responded with 410. They do not change the status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled_webhooks: Vec<String>,
}

/// Whether the ledger of the server can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LedgerHealth {
    /// The last commit succeeded.
    Up,
    /// The last commit failed. Tokens are served all the same.
    Down,
}

impl LedgerHealth {
    /// What it means that the ledger is down, in every language.
    pub const DOWN: LocalizedText = LocalizedText::new(
        "the last commit to the ledger failed, so messages are not accepted",
        "消息库最近一次提交失败，因此目前不接收消息",
    );

    /// What to do if the ledger is down, in every language.
    pub const DOWN_ADVICE: LocalizedText = LocalizedText::new(
        "look for the cause in the log of the server: a full disk, a lost connection or a wrong password",
        "请在服务器日志中查看原因：磁盘已满、连接断开或密码错误",
    );
}

/// The status of the whole server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ReadinessStatus {
    /// All apps are healthy.
    Ready,
    /// At least one app has a usable token, but not all apps are healthy, or the ledger is down.
    Degraded,
    /// No app has a usable token.
    #[serde(rename = "not ready")]
    NotReady,
    /// The server is shutting down.
    Draining,
}

impl ReadinessStatus {
    /// Whether the server should get requests.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

/// An app that is not healthy.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnhealthyApp {
    /// The app.
    pub appid: AppId,
    /// Its health.
    pub state: AppHealth,
    /// What to do, if fetching fails.
    pub remedy: Option<Remedy>,
}
