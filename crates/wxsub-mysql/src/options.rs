//! Where the database is, and how the connection is encrypted.

use std::fmt;
use std::path::PathBuf;

use derive_setters::Setters;
use mysql_async::{Opts, OptsBuilder, SslOpts};
use wxsub_core::proto::{LocalizedText, is_loopback_host};
use wxsub_core::secret_file::SecretFile;
use wxsub_outbox::inbox::InboxError;
use wxsub_tls::{Roots, root_certificates};

use crate::error::refused;

/// A URL that is not one of an inbox. It does not show the URL, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It has another form.
    #[error(
        "url: is not valid; write mysql://USER@HOST:PORT/DATABASE, or append ?socket=PATH for a unix socket"
    )]
    Form,
    /// It holds a password, which lists of processes and logs would show.
    #[error("url: holds a password; remove it and put it into a file")]
    Password,
    /// It has no user or no database.
    #[error("url: has no user or no database; write mysql://USER@HOST:PORT/DATABASE")]
    Incomplete,
}

impl InvalidUrl {
    /// Returns the error in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::Form => {
                "url：格式不正确；请写成 mysql://USER@HOST:PORT/DATABASE，unix socket 在末尾加 ?socket=PATH"
            }
            Self::Password => "url：包含密码；请删除它，并把密码写入文件",
            Self::Incomplete => "url：缺少用户名或数据库；请写成 mysql://USER@HOST:PORT/DATABASE",
        };
        LocalizedText::new(self.to_string(), chinese.to_owned())
    }
}

/// How an inbox is connected to.
#[derive(Clone, Setters)]
#[must_use]
pub struct MysqlOptions {
    #[setters(skip)]
    opts: Opts,
    /// Reads the password from this file before each new connection, without the newline at its end.
    #[setters(into, strip_option)]
    password_file: Option<PathBuf>,
    /// Trusts these certificate authorities. Default: [`Roots::System`].
    roots: Roots,
    #[setters(skip)]
    encrypted: bool,
}

impl MysqlOptions {
    /// With this URL: `mysql://USER@HOST:PORT/DATABASE`, and `?socket=PATH` for a unix socket. The port is 3306 unless given.
    ///
    /// # Errors
    /// [`InvalidUrl`] if it has another form or holds a password.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let query = url.split_once('?').map(|(_, query)| query);
        let is_known = query.is_none_or(|query| query.starts_with("socket=") && !query.contains('&'));
        let opts = Opts::from_url(url).ok().filter(|_| is_known).ok_or(InvalidUrl::Form)?;
        if opts.pass().is_some() {
            return Err(InvalidUrl::Password);
        }
        let has = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
        if !has(opts.user()) || !has(opts.db_name()) {
            return Err(InvalidUrl::Incomplete);
        }
        let encrypted = opts.socket().is_none() && !is_loopback_host(opts.ip_or_hostname());
        Ok(Self { opts, password_file: None, roots: Roots::default(), encrypted })
    }

    /// Encrypts the connection also if the server is on this machine, and not on a unix socket: for a tunnel.
    pub fn always_encrypted(mut self) -> Self {
        self.encrypted = self.opts.socket().is_none();
        self
    }

    /// Where the database is, for messages: without the user.
    pub(crate) fn place(&self) -> String {
        let database = self.opts.db_name().unwrap_or_default();
        match self.opts.socket() {
            Some(socket) => format!("{socket}/{database}"),
            None => format!("{}:{}/{database}", self.opts.ip_or_hostname(), self.opts.tcp_port()),
        }
    }

    /// What the driver needs for a new connection.
    pub(crate) fn driver_options(&self, setup: Vec<String>) -> Result<Opts, InboxError> {
        // The server must not name a socket to use instead of this connection.
        let mut builder = OptsBuilder::from_opts(self.opts.clone())
            .prefer_socket(self.opts.socket().is_some())
            .tcp_keepalive(Some(std::time::Duration::from_secs(20)))
            .setup(setup);
        if let Some(path) = &self.password_file {
            let file = SecretFile::read(path).map_err(|error| {
                let path = path.display();
                refused(
                    format!("password file {path}: {error}; make it readable for this user"),
                    format!("密码文件 {path}：{error}；请让当前用户可以读取它"),
                )
            })?;
            builder = builder.pass(Some(file.text.trim_end_matches(['\r', '\n'])));
        }
        if self.encrypted {
            builder = builder.ssl_opts(Some(self.tls()?));
        }
        Ok(builder.into())
    }

    fn tls(&self) -> Result<SslOpts, InboxError> {
        let refused = |error: wxsub_tls::TlsConfigError| InboxError::Refused(error.localized());
        Ok(match root_certificates(&self.roots).map_err(refused)? {
            // Mozilla's are the driver's own.
            None => SslOpts::default(),
            Some(certificates) => SslOpts::default().with_disable_built_in_roots(true).with_root_certs(
                certificates.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
            ),
        })
    }
}

impl fmt::Debug for MysqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlOptions")
            .field("place", &self.place())
            .field("password_file", &self.password_file)
            .field("roots", &self.roots)
            .field("encrypted", &self.encrypted)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> MysqlOptions {
        MysqlOptions::new(url).unwrap()
    }

    #[test]
    fn a_connection_is_plain_on_this_machine_only() {
        for (url, encrypted) in [
            ("mysql://u@127.0.0.1/d", false),
            ("mysql://u@localhost:3307/d", false),
            ("mysql://u@[::1]/d", false),
            ("mysql://u@localhost/d?socket=/run/s.sock", false),
            ("mysql://u@10.0.0.7/d", true),
            ("mysql://u@db.example/d", true),
            ("mysql://u@localhost.example/d", true),
        ] {
            assert_eq!(options(url).encrypted, encrypted, "{url}");
        }
        assert!(options("mysql://u@127.0.0.1/d").always_encrypted().encrypted);
    }

    #[test]
    fn a_url_has_user_database_and_no_password() {
        for (url, error) in [
            ("mysql://u:secret@h/d", InvalidUrl::Password),
            ("mysql://h/d", InvalidUrl::Incomplete),
            ("mysql://u@h", InvalidUrl::Incomplete),
            ("mysql://u@h/", InvalidUrl::Incomplete),
            ("postgres://u@h/d", InvalidUrl::Form),
            ("shop", InvalidUrl::Form),
            ("mysql://u@h/d?require_ssl=false", InvalidUrl::Form),
            ("mysql://u@h/d?socket=/s&verify_ca=false", InvalidUrl::Form),
        ] {
            let found = MysqlOptions::new(url).unwrap_err();
            assert_eq!(found, error, "{url}");
            assert!(!found.to_string().contains("secret"));
        }
    }

    #[test]
    fn messages_name_the_place_and_no_user() {
        assert_eq!(options("mysql://u@h/d").place(), "h:3306/d");
        assert_eq!(options("mysql://u@localhost/d?socket=/run/s.sock").place(), "/run/s.sock/d");
        assert!(!format!("{:?}", options("mysql://user@h/d")).contains("user"));
    }
}
