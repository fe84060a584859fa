//! Selects Weixin or a control server as the backend.

use crate::app::DirectConfig;
use crate::control_server::ControlServer;
use crate::environment;
use crate::usage::UsageErrors;

/// Backend for messages and access tokens.
pub(crate) enum Backend {
    /// Weixin, with the AppSecret.
    Direct(DirectConfig),
    /// A control server, with a client key.
    ControlServer(ControlServer),
}

impl Backend {
    /// Reads the settings from the flag and the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        if environment::uses_control_server() {
            ControlServer::read(appid_flag, usage).map(Self::ControlServer)
        } else {
            DirectConfig::read(appid_flag, usage).map(Self::Direct)
        }
    }
}
