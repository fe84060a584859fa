//! Who calls, and what their browser says about it.

use std::net::{IpAddr, Ipv4Addr};

use wxsub_proto::BaseUrl;

/// Who sent a request. An address alone is enough: it converts.
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
/// // A page of another site has posted a form.
/// let refused = Sandbox::new().handle_from(caller.cross_site(), "POST", "/_sandbox/ui/clock", b"seconds=60").outcome?;
/// assert_eq!(refused.status, 403);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) base_url: Option<BaseUrl>,
    pub(crate) is_cross_site: bool,
}

impl Caller {
    /// The base URL under which the caller reached the sandbox, for links that lead back to it; without it
    /// `http://localhost`.
    #[must_use]
    pub fn with_base_url(mut self, base_url: BaseUrl) -> Self {
        self.base_url = Some(base_url);
        self
    }

    /// The request comes from a page of another site: the consent page's buttons and all controls are closed to it.
    #[must_use]
    pub fn cross_site(mut self) -> Self {
        self.is_cross_site = true;
        self
    }
}

/// From 127.0.0.1.
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
