//! A control server (`wxsub serve`) in Weixin's place: no AppSecret is needed here then.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::token::ApiKey;
use wxsub_core::transport::{HttpRequest, Transport, TransportError, TransportLimits};
use wxsub_proto::codec::RawResponse;
use wxsub_proto::{AppId, BaseUrl};

use crate::app::{appid, base};
use crate::environment::{self, SERVER};
use crate::transport;
use crate::usage::UsageErrors;

/// Whoever asks says how long they wait: a server that waits for Weixin itself takes longer than Weixin.
const TOTAL: Duration = Duration::from_secs(3600);

/// How long an unused connection is kept. A server closes it after its `header_timeout_s`, 10 s unless told otherwise.
const IDLE: Duration = Duration::from_secs(5);

/// The server, and who asks it for which app.
pub(crate) struct ControlServer {
    /// Which app.
    pub(crate) appid: AppId,
    key: ApiKey,
    base: BaseUrl,
    transport: Arc<dyn Transport>,
}

impl ControlServer {
    /// The server of the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        environment::no_secret(usage);
        let appid = appid(appid_flag, usage);
        let key = environment::key(usage);
        if environment::value(SERVER, usage).is_none() {
            usage.add(SERVER, "is not set; put the control server's address there, or unset the key");
            return None;
        }
        let base = base(SERVER, "", usage)?;
        let limits = TransportLimits::default().request_timeout(TOTAL).pool_idle_timeout(IDLE);
        let transport = transport::open(&base.clone().into(), limits, usage);
        Some(Self { appid: appid?, key: key?, base, transport: transport? })
    }

    /// One exchange, never repeated: a `POST` of this JSON, or a `GET`. The route is what follows the app.
    pub(crate) async fn ask(
        &self,
        route: &str,
        json: Option<Vec<u8>>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        let path = format!("/v1/apps/{}/{route}", self.appid);
        let outgoing = HttpRequest::to_control_server(&self.base, &self.key, &path, json)?;
        self.transport.execute(outgoing).await
    }
}
