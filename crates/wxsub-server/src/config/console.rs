//! The `[console]` table: where operators reach the console, and who they are.

use std::net::SocketAddr;

use wxsub_proto::{LocalizedText, is_loopback_host};

use super::document::{TableReader, without_places};
use super::password::PasswordHash;
use super::{client, tls};

/// Where the console listens, and how browsers reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsoleAddress {
    pub(crate) listen: SocketAddr,
    /// Whether browsers use https, also through a proxy.
    pub(crate) is_https: bool,
    /// The public URL as browsers send it in `Origin`. Empty without a public URL.
    pub(crate) origin: String,
    /// The path of the public URL, without a slash at its end.
    pub(crate) base_path: String,
}

/// Who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsoleUser {
    pub(crate) name: String,
    pub(crate) password: PasswordHash,
    pub(crate) role: Role,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads. Openids stay masked.
    Viewer,
    /// Acts, too, and reveals openids.
    Operator,
}

/// A public URL.
#[derive(Debug, Default, PartialEq, Eq)]
struct PublicUrl {
    is_https: bool,
    origin: String,
    path: String,
}

/// How browsers reach the server without a public URL.
pub(super) struct Listening {
    pub(super) has_tls: bool,
    /// `plaintext = true`: a proxy in front of the server terminates TLS.
    pub(super) is_plaintext_allowed: bool,
}

/// Reads `[console]`. `None` if it is absent, or has a problem.
pub(super) fn read(
    top: &mut TableReader<'_>,
    listening: &Listening,
) -> Option<(ConsoleAddress, Vec<ConsoleUser>)> {
    let mut section = top.optional_section("console")?;
    section.check_present("listen");
    let listen = section.address("listen");
    if listen.is_some_and(|listen| {
        !listen.ip().is_loopback() && !listening.has_tls && !listening.is_plaintext_allowed
    }) {
        tls::refuse_plaintext(&section, LocalizedText::new("passwords", "密码"));
    }
    let public_url = section.text_as(
        "public_url",
        parse_public_url,
        "must be the address that operators open, like https://ops.example/wxsub, without query; http:// only for \
         this machine",
        "必须是操作员打开的地址，例如 https://ops.example/wxsub，不带查询参数；只有本机可以用 http://",
    );
    let is_https = public_url.as_ref().map_or(listening.has_tls, |url| url.is_https);
    if !is_https && listen.is_some_and(|listen| !listen.ip().is_loopback()) && listening.is_plaintext_allowed
    {
        section.refuse(
            "public_url",
            "must begin with https:// here: a proxy terminates TLS, and browsers must not send the session unencrypted",
            "此处必须以 https:// 开头：TLS 由代理负责，浏览器不能明文发送会话",
        );
    }
    let users = section.placed_sections("users", user);
    section.check_unique("name", users.iter().map(|(place, user)| (place, &user.name)));
    let users = without_places(users);
    if users.is_empty() {
        section.refuse(
            "users",
            "is empty, so no one can log in; add [[console.users]] with name, password_hash and role",
            "为空，没有人能登录；请添加 [[console.users]]，写上 name、password_hash 和 role",
        );
    }
    section.finish();
    let PublicUrl { origin, path: base_path, .. } = public_url.unwrap_or_default();
    Some((ConsoleAddress { listen: listen?, is_https, origin, base_path }, users))
}

fn parse_public_url(text: &str) -> Option<PublicUrl> {
    let (scheme, rest) = text.split_once("://")?;
    let default_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let is_https = scheme == "https";
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority: axum::http::uri::Authority = authority.parse().ok()?;
    let host = authority.host();
    let is_loopback = is_loopback_host(host);
    let path = path.trim_end_matches('/');
    let is_plain = |segment: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        !segment.is_empty() && segment.bytes().all(is_known) && !matches!(segment, "." | "..")
    };
    let is_path = path.is_empty() || path.split('/').skip(1).all(is_plain);
    let has_valid_port = authority.port_u16().is_some() || authority.as_str() == host;
    let is_valid = is_path && (is_https || is_loopback) && !host.is_empty() && has_valid_port;
    let is_valid = is_valid && !authority.as_str().contains('@');
    // Browsers leave the port of the scheme out.
    let port = authority.port_u16().filter(|port| *port != default_port);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{scheme}://{}{port}", host.to_ascii_lowercase());
    is_valid.then(|| PublicUrl { is_https, origin, path: path.to_owned() })
}

/// Reads one `[[console.users]]`.
fn user(mut section: TableReader<'_>) -> Option<ConsoleUser> {
    for key in ["name", "password_hash", "role"] {
        section.check_present(key);
    }
    let name = client::name(&mut section);
    let password = section.text("password_hash").and_then(|text| {
        PasswordHash::parse(&text).map_err(|rule| section.problem("password_hash", rule)).ok()
    });
    if password.as_ref().is_some_and(PasswordHash::is_weak) {
        section.warn(
            "password_hash",
            "is cheap to guess; make one with wxsub console password",
            "强度过低，容易被猜出；请用 wxsub console password 重新生成",
        );
    }
    let role = |text: &str| match text {
        "viewer" => Some(Role::Viewer),
        "operator" => Some(Role::Operator),
        _ => None,
    };
    let role = section.text_as("role", role, "must be viewer or operator", "必须是 viewer 或 operator");
    section.finish();
    Some(ConsoleUser { name: name?, password: password?, role: role? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_url_gives_scheme_origin_and_path() {
        for (text, expected) in [
            ("https://ops.example", Some((true, "https://ops.example", ""))),
            ("https://OPS.example:443/", Some((true, "https://ops.example", ""))),
            ("https://ops.example:8443/wxsub/", Some((true, "https://ops.example:8443", "/wxsub"))),
            ("https://ops.example/a/b-c", Some((true, "https://ops.example", "/a/b-c"))),
            ("http://127.0.0.1:8462", Some((false, "http://127.0.0.1:8462", ""))),
            ("http://localhost:80/x", Some((false, "http://localhost", "/x"))),
            ("http://[::1]:1/x", Some((false, "http://[::1]:1", "/x"))),
            ("http://ops.example", None),
            ("https://", None),
            ("https://ops.example:84433", None),
            ("https://ops.example:", None),
            ("https://user@ops.example", None),
            ("https://ops.example/a//b", None),
            ("https://ops.example/../b", None),
            ("https://ops.example/{a}", None),
            ("https://ops.example/?q", None),
            ("ops.example", None),
            ("ftp://ops.example", None),
        ] {
            let expected = expected.map(|(is_https, origin, path)| PublicUrl {
                is_https,
                origin: origin.to_owned(),
                path: path.to_owned(),
            });
            assert_eq!(parse_public_url(text), expected, "{text}");
        }
    }
}
