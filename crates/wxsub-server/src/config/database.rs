//! Databases of the configuration: where they are, and how the server connects to them.

use std::path::PathBuf;

use wxsub_hyper::Roots;
use wxsub_mysql::{InvalidUrl, MysqlOptions};
use wxsub_postgres::{ConnectError, PostgresOptions, ServerProblem};
use wxsub_proto::{LocalizedText, localized_text};

use super::document::TableReader;
use super::secret;
use super::transport::read_roots;

/// How to connect to a database, and the settings that say so.
#[derive(Clone, derive_more::Debug)]
#[debug("{options:?}")]
pub(crate) struct DatabaseConfig<O> {
    pub(crate) options: O,
    settings: Settings,
}

/// Without a secret: a password is in its file.
#[derive(Clone, PartialEq, Eq)]
struct Settings {
    url: String,
    password_file: Option<PathBuf>,
    roots: Roots,
}

impl<O> PartialEq for DatabaseConfig<O> {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

const PASSWORD_IN_URL: LocalizedText =
    LocalizedText::new("holds a password; put it into password_file", "包含密码；请把密码写入 password_file");

impl DatabaseConfig<PostgresOptions> {
    /// A database at this URL, with `password_file` and `ca_file` of the table. `None` if there is a problem.
    pub(super) fn postgres(section: &mut TableReader<'_>, url: String) -> Option<Self> {
        let settings = Settings::read(section, url)?;
        let mut options = PostgresOptions::new(&settings.url).roots(settings.roots.clone());
        if let Some(path) = &settings.password_file {
            options = options.password_file(path);
        }
        if options.has_password() {
            section.problem("url", PASSWORD_IN_URL);
            return None;
        }
        match options.check() {
            Ok(()) => return Some(Self { options, settings }),
            Err(ConnectError::Tls(error)) => section.problem("ca_file", error.localized()),
            Err(ConnectError::Server { problem: ServerProblem::PlainText(mode), .. }) => section.problem(
                "url",
                localized_text!(
                    "would not encrypt the connection; remove sslmode={mode}: the certificate of the server is verified",
                    "连接不会加密；请删除 sslmode={mode}：会校验服务器证书"
                ),
            ),
            Err(ConnectError::Url(what)) => section.problem(
                "url",
                localized_text!(
                    "cannot be read: {what}; write postgres://USER@HOST/DATABASE",
                    "无法解析：{what}；请写成 postgres://USER@HOST/DATABASE"
                ),
            ),
            Err(error) => section.problem("url", error.localized()),
        }
        None
    }
}

impl DatabaseConfig<MysqlOptions> {
    /// Like [`postgres`](DatabaseConfig::postgres).
    pub(super) fn mysql(section: &mut TableReader<'_>, url: String) -> Option<Self> {
        let settings = Settings::read(section, url)?;
        let options = MysqlOptions::new(&settings.url).map_err(|error| match error {
            InvalidUrl::Password => section.problem("url", PASSWORD_IN_URL),
            error => section.problem("url", error.localized()),
        });
        let options = options.ok()?.roots(settings.roots.clone());
        let options = match &settings.password_file {
            Some(path) => options.password_file(path),
            None => options,
        };
        Some(Self { options, settings })
    }
}

impl Settings {
    fn read(section: &mut TableReader<'_>, url: String) -> Option<Self> {
        let password_file = secret::path(section, "password_file");
        Some(Self { url, password_file, roots: read_roots(section, "ca_file", false)? })
    }
}
