//! Which way messages and tokens go: to Weixin itself, or to a control server.

use crate::app::App;
use crate::control_server::ControlServer;
use crate::environment;
use crate::wrong_usage::WrongUsage;

/// The way.
pub(crate) enum Way {
    /// With the app's secret.
    Weixin(App),
    /// With a client key.
    Server(ControlServer),
}

impl Way {
    /// The way of these flags and of the environment.
    pub(crate) fn read(appid_flag: Option<&str>, usage: &mut WrongUsage) -> Option<Self> {
        if environment::names_a_server() {
            ControlServer::read(appid_flag, usage).map(Self::Server)
        } else {
            App::read(appid_flag, usage).map(Self::Weixin)
        }
    }
}
