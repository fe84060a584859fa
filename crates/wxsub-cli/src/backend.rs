//! Which way messages and tokens go: to Weixin itself, or to a control server.

use crate::app::DirectConfig;
use crate::control_server::ControlServer;
use crate::environment;
use crate::usage::UsageErrors;

/// The way.
pub(crate) enum Backend {
    /// With the app's secret.
    Weixin(DirectConfig),
    /// With a client key.
    Server(ControlServer),
}

impl Backend {
    /// The way of these flags and of the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut UsageErrors) -> Option<Self> {
        if environment::uses_control_server() {
            ControlServer::read(appid_flag, usage).map(Self::Server)
        } else {
            DirectConfig::read(appid_flag, usage).map(Self::Weixin)
        }
    }
}
