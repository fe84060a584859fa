//! Client of a control server (`wxsub serve`). It needs a client key and no AppSecret.

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

/// Request timeout of the transport. Callers set a shorter one: the server waits for Weixin, so it takes longer than Weixin.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Idle time after which a connection is closed. The server closes it after `header_timeout_s`, 10 s by default.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A control server, the client key, and the app.
pub(crate) struct ControlServer {
    /// App that the requests are for.
    pub(crate) appid: AppId,
    key: ApiKey,
    base: BaseUrl,
    transport: Arc<dyn Transport>,
}

impl ControlServer {
    /// Reads the settings from the flag and the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        environment::reject_secret(usage);
        let appid = appid(appid_flag, usage);
        let key = environment::key(usage);
        if environment::value(SERVER, usage).is_none() {
            usage.add(SERVER, "is not set; set it to the base URL of the control server, or unset the key");
            return None;
        }
        let base = base(SERVER, "", usage)?;
        let limits =
            TransportLimits::default().request_timeout(REQUEST_TIMEOUT).pool_idle_timeout(POOL_IDLE_TIMEOUT);
        let transport = transport::open(&base.clone().into(), limits, usage);
        Some(Self { appid: appid?, key: key?, base, transport: transport? })
    }

    /// Sends one request without retries: a `POST` of this JSON, or a `GET` without it.
    ///
    /// `route` is the part of the path after the app.
    ///
    /// # Errors
    ///
    /// [`TransportError`] if no response arrives.
    pub(crate) async fn request(
        &self,
        route: &str,
        json: Option<Vec<u8>>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
        let path = format!("/v1/apps/{}/{route}", self.appid);
        let request = HttpRequest::to_control_server(&self.base, &self.key, &path, json)?;
        self.transport.execute(request).await
    }
}
