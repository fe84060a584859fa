//! HTTP transport with the proxy and certificate authorities of the environment.

use std::fs;
use std::sync::Arc;

use wxsub_core::transport::{Transport, TransportLimits};
use wxsub_hyper::{BuildError, HyperTransport, Roots, TlsConfigError};
use wxsub_proto::BaseUrls;
use wxsub_server::ignored_proxy;

use crate::console;
use crate::environment::{self, CA_FILE, PROXY};
use crate::usage::UsageErrors;

/// Builds a transport for these hosts, with the proxy and certificate authorities of the environment.
///
/// Warns if the environment names a proxy that is not used.
pub(crate) fn open(
    bases: &BaseUrls,
    limits: TransportLimits,
    usage: &mut UsageErrors,
) -> Option<Arc<dyn Transport>> {
    let proxy = environment::value(PROXY, usage);
    if proxy.is_none()
        && let Some((base, name)) =
            bases.iter().find_map(|base| Some((base, ignored_proxy(base, environment::value_lossy)?)))
    {
        console::warning(format_args!(
            "the proxy in {name} is not used; set {PROXY} to use it, or add {} to NO_PROXY",
            base.host()
        ));
    }
    let mut builder = HyperTransport::builder().limits(limits).roots(roots(bases, proxy.is_some(), usage)?);
    if let Some(url) = proxy {
        builder = builder.proxy(&url).map_err(|error| usage.add(PROXY, error)).ok()?;
    }
    match builder.build() {
        Ok(transport) => Some(Arc::new(transport)),
        Err(BuildError::Tls(TlsConfigError::NoSystemRoots(why))) => {
            usage.add(
                CA_FILE,
                format_args!(
                    "is not set, and this machine has no certificate authorities ({why}); install the \
                     ca-certificates package, or set it to the path of a PEM file"
                ),
            );
            None
        }
        Err(error) => {
            usage.add(CA_FILE, error);
            None
        }
    }
}

fn roots(bases: &BaseUrls, uses_proxy: bool, usage: &mut UsageErrors) -> Option<Roots> {
    match environment::value(CA_FILE, usage) {
        Some(path) => fs::read(path)
            .map(Roots::Pem)
            .map_err(|error| usage.add(CA_FILE, format_args!("names a file that cannot be read: {error}")))
            .ok(),
        // No certificate is checked, so the machine needs no certificate authorities.
        None if bases.iter().all(|base| base.as_str().starts_with("http://")) && !uses_proxy => {
            Some(Roots::Bundled)
        }
        None => Some(Roots::System),
    }
}
