//! What both transports do over TLS and through a proxy. The conformance suite tests all else.

#![cfg(test)]

use std::fmt::Debug;
use std::sync::Arc;

use wxsub_core::transport::Transport;
use wxsub_tls::{BuildError, FromSettings, Roots, TransportBuilder};

/// A transport, and the `Debug` text of it and its builder.
struct Built {
    transport: Arc<dyn Transport>,
    debug: String,
}

/// Builds a transport with these roots and this proxy.
type Build = fn(&Roots, Option<&str>) -> Result<Built, BuildError>;

fn built<T: FromSettings + Transport + Debug + 'static>(
    roots: &Roots,
    proxy: Option<&str>,
) -> Result<Built, BuildError> {
    let mut builder = TransportBuilder::<T>::default().roots(roots.clone());
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy)?;
    }
    let debug = format!("{builder:?}");
    let transport = builder.build()?;
    Ok(Built { debug: format!("{debug} {transport:?}"), transport: Arc::new(transport) })
}

/// Makes one test per transport from each case.
macro_rules! over_both {
    ($($case:ident),+ $(,)?) => {
        mod over_hyper {
            $(#[tokio::test] async fn $case() { super::$case(crate::built::<wxsub_hyper::HyperTransport>).await })+
        }
        mod over_reqwest {
            $(#[tokio::test] async fn $case() { super::$case(crate::built::<wxsub_reqwest::ReqwestTransport>).await })+
        }
    };
}

mod transports {
    mod proxy;
    mod tls;
}
