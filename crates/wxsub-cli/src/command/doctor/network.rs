//! Between this machine and Weixin.

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

/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the hosts' names stand for.
pub(super) async fn dns(patient: &DoctorContext) -> Finding<()> {
    if patient.proxied {
        return Finding::Skipped("the proxy resolves names".to_owned());
    }
    let mut found = Vec::new();
    for base in patient.app.bases.iter() {
        match resolve(base).await {
            Ok(addresses) => found.push(addresses),
            Err(fault) => return Finding::Failed(fault),
        }
    }
    Finding::Ok((), found.join("; "))
}

async fn resolve(base: &BaseUrl) -> Result<String, CheckFailure> {
    let host = base.host();
    if host.parse::<IpAddr>().is_ok() {
        return Ok(format!("{host} is an address, there is nothing to resolve"));
    }
    let clock = SystemClock::new();
    let found = tokio::select! {
        biased;
        found = lookup_host((host, base.port())) => found.map_err(|error| error.to_string()),
        () = clock.sleep_until(clock.now().mono.after(PATIENCE)) => Err(format!("no answer within {PATIENCE:?}")),
    };
    let why = match found.map(|found| found.map(|address| address.ip().to_string()).collect::<BTreeSet<_>>())
    {
        Ok(addresses) if !addresses.is_empty() => {
            let addresses: Vec<_> = addresses.into_iter().collect();
            return Ok(format!("{host} has {}", addresses.join(", ")));
        }
        Ok(_) => "the name has no address".to_owned(),
        Err(why) => why,
    };
    let cause = format_args!("the host name {host} could not be resolved: {why}").to_string();
    let to_do = format!("see whether {API_BASE} is spelt right, and whether this machine's DNS works");
    Err(CheckFailure::new(ExitStatus::NotSent, Remedy::FixConfig, cause, to_do))
}

/// A reply, and between which moments it was written.
pub(super) struct Timed<B> {
    pub(super) raw: RawResponse<B>,
    pub(super) asked: ClockReading,
    pub(super) answered: ClockReading,
}

/// Asks every host something that needs no secret. Any reply will do; that of the first host is looked at further.
pub(super) async fn connection(patient: &DoctorContext) -> Finding<Timed<impl AsRef<[u8]> + use<>>> {
    let clock = SystemClock::new();
    let asked = clock.now();
    let told = match patient.base().as_str().starts_with("https://") {
        true => "TLS and the certificate are good",
        false => "plain http://, no TLS",
    };
    let reply = match patient.ask(domain_ip::request_unauthenticated()).await {
        Ok(raw) => Timed { raw, asked, answered: clock.now() },
        Err(error) => return Finding::Failed(CheckFailure::no_reply(patient, patient.base(), &error)),
    };
    for base in patient.app.bases.iter().skip(1) {
        if let Err(error) = patient.ask_host(base, domain_ip::request_unauthenticated()).await {
            return Finding::Failed(CheckFailure::no_reply(patient, base, &error));
        }
    }
    Finding::Ok(reply, told.to_owned())
}

/// Weixin refuses a call without a token in words of its own.
pub(super) fn weixin<B: AsRef<[u8]>>(patient: &DoctorContext, reply: &RawResponse<B>) -> Finding<()> {
    match domain_ip::parse_response(reply.status, reply.body.as_ref()) {
        Ok(Ok(()) | Err(_)) => Finding::Ok((), "it is Weixin that answers".to_owned()),
        Err(unreadable) => Finding::Failed(CheckFailure::not_weixin(patient, &unreadable)),
    }
}
