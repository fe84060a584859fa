//! Checks of the network between this machine and Weixin.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use wxsub_core::clock::{Clock, ClockReading, SystemClock};
use wxsub_proto::codec::RawResponse;
use wxsub_proto::endpoint::domain_ip;
use wxsub_proto::{BaseUrl, Remedy};

use super::report::Finding;
use super::{CheckFailure, DoctorContext};
use crate::environment::API_BASE;
use crate::exit::ExitStatus;

/// Maximum time to resolve a name.
const DNS_TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves the names of all hosts.
pub(super) async fn dns(context: &DoctorContext) -> Finding<()> {
    if context.uses_proxy {
        return Finding::Skipped("the proxy resolves names".to_owned());
    }
    let mut found = Vec::new();
    for base in context.app.bases.iter() {
        match resolve(base).await {
            Ok(addresses) => found.push(addresses),
            Err(failure) => return Finding::Failed(failure),
        }
    }
    Finding::Ok((), found.join("; "))
}

async fn resolve(base: &BaseUrl) -> Result<String, CheckFailure> {
    let host = base.host();
    if host.parse::<IpAddr>().is_ok() {
        return Ok(format!("{host} is an IP address"));
    }
    let clock = SystemClock::new();
    let found = tokio::select! {
        biased;
        found = lookup_host((host, base.port())) => found.map_err(|error| error.to_string()),
        () = clock.sleep_until(clock.now().mono + DNS_TIMEOUT) => Err(format!("no response within {DNS_TIMEOUT:?}")),
    };
    let error =
        match found.map(|found| found.map(|address| address.ip().to_string()).collect::<BTreeSet<_>>()) {
            Ok(addresses) if !addresses.is_empty() => {
                let addresses: Vec<_> = addresses.into_iter().collect();
                return Ok(format!("{host} has {}", addresses.join(", ")));
            }
            Ok(_) => "the name has no address".to_owned(),
            Err(error) => error,
        };
    let cause = format_args!("the host name {host} could not be resolved: {error}").to_string();
    let to_do = format!("check the spelling of {API_BASE}, and the DNS of this machine");
    Err(CheckFailure::new(ExitStatus::NotSent, Remedy::FixConfig, cause, to_do))
}

/// A response with the times of the request and of its arrival.
pub(super) struct TimedResponse<B> {
    pub(super) raw: RawResponse<B>,
    pub(super) requested_at: ClockReading,
    pub(super) received_at: ClockReading,
}

/// Sends a request without a secret to every host. Any response is enough. Returns the response of the first host.
pub(super) async fn connection(context: &DoctorContext) -> Finding<TimedResponse<impl AsRef<[u8]> + use<>>> {
    let clock = SystemClock::new();
    let requested_at = clock.now();
    let detail = match context.base().as_str().starts_with("https://") {
        true => "TLS and the certificate are valid",
        false => "plain http://, no TLS",
    };
    let response = match context.request(domain_ip::request_unauthenticated()).await {
        Ok(raw) => TimedResponse { raw, requested_at, received_at: clock.now() },
        Err(error) => return Finding::Failed(CheckFailure::no_response(context, context.base(), &error)),
    };
    for base in context.app.bases.iter().skip(1) {
        if let Err(error) = context.request_from(base, domain_ip::request_unauthenticated()).await {
            return Finding::Failed(CheckFailure::no_response(context, base, &error));
        }
    }
    Finding::Ok(response, detail.to_owned())
}

/// Checks that the response is from Weixin: only Weixin refuses a call without a token with an errcode.
pub(super) fn weixin<B: AsRef<[u8]>>(context: &DoctorContext, response: &RawResponse<B>) -> Finding<()> {
    match domain_ip::parse_response(response.status, response.body.as_ref()) {
        Ok(Ok(()) | Err(_)) => Finding::Ok((), "the response is from Weixin".to_owned()),
        Err(error) => Finding::Failed(CheckFailure::not_weixin(context, &error)),
    }
}
