//! How doctor reaches Weixin or a control server: names, connections, and why there is no response.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::transport::{HttpRequest, Transport, TransportError};
use wxsub_proto::codec::{RawResponse, Request};
use wxsub_proto::{BaseUrl, BaseUrls, Remedy};
use wxsub_server::ignored_proxy;

use super::report::{Finding, Unsuccessful};
use crate::diagnosis::Diagnosis;
use crate::environment::{self, CA_FILE, PROXY};
use crate::error::ExitStatus;
use crate::language::{localized, shown};

/// Maximum time to resolve a name.
const DNS_TIMEOUT: Duration = Duration::from_secs(10);

/// The hosts that doctor calls, and the way to them.
pub(super) struct Network {
    pub(super) bases: BaseUrls,
    transport: Arc<dyn Transport>,
    /// Variable with the base URLs.
    pub(super) variable: &'static str,
    uses_proxy: bool,
    /// Variable with a proxy that is not used.
    ignored_proxy: Option<&'static str>,
}

impl Network {
    /// The hosts of this variable.
    pub(super) fn new(bases: BaseUrls, transport: Arc<dyn Transport>, variable: &'static str) -> Self {
        let uses_proxy = environment::value_lossy(PROXY).is_some();
        let ignored_proxy = ignored_proxy(bases.first(), environment::value_lossy).filter(|_| !uses_proxy);
        Self { bases, transport, variable, uses_proxy, ignored_proxy }
    }

    /// The first host. The other hosts are only connected to.
    pub(super) fn base(&self) -> &BaseUrl {
        self.bases.first()
    }

    /// What to say of the proxy after the base URLs.
    pub(super) fn proxy(&self) -> String {
        match self.ignored_proxy {
            Some(name) => localized!(
                ", without the proxy in {name}: only {PROXY} is used",
                "，未使用 {name} 中的代理：只有 {PROXY} 生效"
            ),
            None if self.uses_proxy => localized!(", through a proxy", "，经过代理"),
            None => String::new(),
        }
    }

    /// Sends one request to the first host without retries, so that rare failures are visible.
    pub(super) async fn request(
        &self,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, Diagnosis> {
        self.request_from(self.base(), request).await
    }

    /// Sends one request to this host.
    pub(super) async fn request_from(
        &self,
        base: &BaseUrl,
        request: Request<'_>,
    ) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, Diagnosis> {
        let response = match HttpRequest::new(base, request) {
            Ok(request) => self.transport.execute(request).await,
            Err(error) => Err(error),
        };
        response.map_err(|error| self.no_response(base, &error))
    }

    /// What a working connection to the first host proves.
    pub(super) fn connection(&self) -> String {
        match self.base().as_str().starts_with("https://") {
            true => localized!("TLS and the certificate are valid", "TLS 和证书有效"),
            false => localized!("plain http://, no TLS", "明文 http://，没有 TLS"),
        }
    }

    /// Resolves the names of all hosts.
    pub(super) async fn resolve_hosts(&self) -> Finding<()> {
        if self.uses_proxy {
            let reason = localized!("the proxy resolves names", "由代理解析域名");
            return Err(Unsuccessful::Skipped(reason));
        }
        let mut found = Vec::new();
        for base in self.bases.iter() {
            found.push(self.resolve(base).await?);
        }
        Ok(((), found.join("; ")))
    }

    async fn resolve(&self, base: &BaseUrl) -> Result<String, Diagnosis> {
        let host = base.host();
        if host.parse::<IpAddr>().is_ok() {
            return Ok(localized!("{host} is an IP address", "{host} 是 IP 地址"));
        }
        let clock = SystemClock::new();
        let found = tokio::select! {
            biased;
            found = lookup_host((host, base.port())) => found.map_err(|error| error.to_string()),
            () = clock.sleep_until(clock.now().mono + DNS_TIMEOUT) => {
                let seconds = DNS_TIMEOUT.as_secs();
                Err(localized!("no response within {seconds} s", "{seconds} 秒内没有响应"))
            }
        };
        let addresses =
            found.map(|found| found.map(|address| address.ip().to_string()).collect::<BTreeSet<_>>());
        let error = match addresses {
            Ok(addresses) if !addresses.is_empty() => {
                let addresses = addresses.into_iter().collect::<Vec<_>>().join(", ");
                return Ok(localized!("{host} has {addresses}", "{host} 的地址：{addresses}"));
            }
            Ok(_) => localized!("the name has no address", "该域名没有地址"),
            Err(error) => error,
        };
        let variable = self.variable;
        Err(Diagnosis::new(
            ExitStatus::NotSent,
            Remedy::FixConfig,
            localized!("the host name {host} could not be resolved: {error}", "无法解析域名 {host}：{error}"),
            localized!(
                "check the spelling of {variable}, and the DNS of this machine",
                "请检查 {variable} 的拼写和本机 DNS"
            ),
        ))
    }

    /// The diagnosis of a request without a response.
    pub(super) fn no_response(&self, base: &BaseUrl, error: &TransportError) -> Diagnosis {
        use wxsub_core::transport::TransportErrorKind::{Certificate, Connect, Proxy, Timeout, Tls};
        let (host, variable) = (base.host(), self.variable);
        let (remedy, to_do) = match (error.kind(), self.ignored_proxy) {
            (Connect | Timeout, Some(name)) => (
                Remedy::FixConfig,
                localized!(
                    "set {PROXY} if {host} must be reached through the proxy in {name}",
                    "如果必须经过 {name} 中的代理才能访问 {host}，请设置 {PROXY}"
                ),
            ),
            (Connect | Timeout, None) => (
                Remedy::RetryLater,
                localized!(
                    "check whether a firewall blocks {host}, then try again",
                    "请检查防火墙是否拦截了 {host}，然后重试"
                ),
            ),
            (Certificate, _) => (
                Remedy::FixConfig,
                localized!(
                    "if a proxy inspects TLS traffic, put its certificate authority into {CA_FILE}; otherwise check this machine's clock",
                    "如果有代理解密 TLS 流量，请把它的 CA 证书写入 {CA_FILE} 指定的文件；否则请检查本机时间"
                ),
            ),
            (Tls, _) => (
                Remedy::FixConfig,
                localized!(
                    "check that {variable} is right and that the host supports TLS",
                    "请检查 {variable} 是否正确，以及该主机是否支持 TLS"
                ),
            ),
            (Proxy, _) => (
                Remedy::FixConfig,
                localized!(
                    "correct {PROXY}, or find out why the proxy refuses the connection",
                    "请修改 {PROXY}，或查明代理为什么拒绝连接"
                ),
            ),
            _ => (
                Remedy::Investigate,
                localized!(
                    "find out which program responds at {host}; check {variable}",
                    "请查明 {host} 上是什么程序在响应；检查 {variable}"
                ),
            ),
        };
        Diagnosis::new(ExitStatus::NotSent, remedy, shown(&error.localized()), to_do)
    }
}
