//! The caller of a request: address, base URL, and whether another site's page sent it.

use std::net::{IpAddr, Ipv4Addr};

use wxsub_proto::BaseUrl;

/// The sender of a request. An IP address converts into it.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
///
/// use wxsub_sandbox::{Caller, Sandbox};
///
/// let caller = Caller::from(IpAddr::from(Ipv4Addr::LOCALHOST)).with_base_url("http://127.0.0.1:8459".parse()?);
/// let page = Sandbox::new().handle_from(caller.clone(), "GET", "/", b"").outcome?;
/// assert!(String::from_utf8_lossy(&page.body).contains("export WXSUB_API_BASE=http://127.0.0.1:8459"));
///
/// // A page of another site submits a form.
/// let rejected = Sandbox::new().handle_from(caller.cross_site(), "POST", "/_sandbox/ui/clock", b"seconds=60").outcome?;
/// assert_eq!(rejected.status, 403);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) base_url: Option<BaseUrl>,
    pub(crate) is_cross_site: bool,
}

impl Caller {
    /// Sets the base URL at which the caller reached the sandbox. Links to the sandbox use it. Default: `http://localhost`.
    #[must_use]
    pub fn with_base_url(mut self, base_url: BaseUrl) -> Self {
        self.base_url = Some(base_url);
        self
    }

    /// Marks the request as sent by a page of another site. The sandbox then rejects consent decisions and all controls.
    #[must_use]
    pub fn cross_site(mut self) -> Self {
        self.is_cross_site = true;
        self
    }
}

/// A caller at 127.0.0.1.
impl Default for Caller {
    fn default() -> Self {
        IpAddr::from(Ipv4Addr::LOCALHOST).into()
    }
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        Self { address, base_url: None, is_cross_site: false }
    }
}
