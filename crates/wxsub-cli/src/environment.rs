//! Environment variables. Only this module reads them.

use std::env::VarError;
use std::path::Path;
use std::time::Duration;

use wxsub_api::ApiKey;
use wxsub_core::secret_file::SecretFile;
use wxsub_proto::{AppSecret, ValidationError};

use crate::error::{CliError, UsageErrors};
use crate::input::with_advice;
use crate::language::localized;

/// AppID, unless `--appid` is given.
pub(crate) const APPID: &str = "WXSUB_APPID";
/// AppSecret.
pub(crate) const SECRET: &str = "WXSUB_SECRET";
/// Path of a file with the AppSecret.
pub(crate) const SECRET_FILE: &str = "WXSUB_SECRET_FILE";
/// Base URL of the control server to use instead of Weixin.
pub(crate) const SERVER: &str = "WXSUB_SERVER";
/// Client key for the control server.
pub(crate) const KEY: &str = "WXSUB_KEY";
/// Path of a file with the client key.
pub(crate) const KEY_FILE: &str = "WXSUB_KEY_FILE";
/// Base URLs of Weixin's API, separated by commas.
pub(crate) const API_BASE: &str = "WXSUB_API_BASE";
/// Base URL of Weixin's consent page.
pub(crate) const MP_BASE: &str = "WXSUB_MP_BASE";
/// `1` allows plain HTTP to any host.
pub(crate) const ALLOW_HTTP: &str = "WXSUB_ALLOW_HTTP";
/// Endpoint that issues access tokens: `stable_token` or `token`.
pub(crate) const TOKEN_ENDPOINT: &str = "WXSUB_TOKEN_ENDPOINT";
/// URL of the proxy.
pub(crate) const PROXY: &str = "WXSUB_PROXY";
/// Path of a PEM file with the certificate authorities to trust instead of this machine's.
pub(crate) const CA_FILE: &str = "WXSUB_CA_FILE";
/// Path of a file with the password of the ledger's database.
pub(crate) const LEDGER_PASSWORD_FILE: &str = "WXSUB_LEDGER_PASSWORD_FILE";
/// Path of a file with the password of the inbox's database.
pub(crate) const INBOX_PASSWORD_FILE: &str = "WXSUB_INBOX_PASSWORD_FILE";
/// How many seconds a command waits for a ledger that another process has.
const LEDGER_WAIT: &str = "WXSUB_LEDGER_WAIT_S";
/// The locale. The first of these that is set decides.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];
/// Log filter.
pub(crate) const RUST_LOG: &str = "RUST_LOG";
/// Log format: `text` or `json`.
pub(crate) const LOG_FORMAT: &str = "WXSUB_LOG_FORMAT";

/// Returns the value of a variable. An empty value counts as unset.
pub(crate) fn value(name: &str, usage: &mut UsageErrors) -> Option<String> {
    match read(name) {
        Ok(value) => value,
        Err(NotUnicode) => {
            usage.add(name, localized!("must be UTF-8 text", "必须是 UTF-8 文本"));
            None
        }
    }
}

/// Returns the path in a variable.
pub(crate) fn path(name: &str) -> Result<Option<String>, CliError> {
    UsageErrors::check(|usage| Some(value(name, usage)))
}

/// Returns the value of a variable. A value that is not UTF-8 counts as unset.
pub(crate) fn value_lossy(name: &str) -> Option<String> {
    read(name).unwrap_or_default()
}

/// Who runs the command, for the history.
pub(crate) fn operator() -> String {
    value_lossy("USER").unwrap_or_else(|| "operator".to_owned())
}

/// Returns the locale. The first of its variables that is set decides, as in POSIX.
pub(crate) fn locale() -> Option<String> {
    first_set(LOCALE, value_lossy)
}

fn first_set<const N: usize>(names: [&str; N], variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    names.into_iter().find_map(variable)
}

/// Reads the AppSecret from its variable or its file.
pub(crate) fn secret(usage: &mut UsageErrors) -> Option<AppSecret> {
    let missing = localized!(
        "is not set; set it to the AppSecret, or set WXSUB_SECRET_FILE to the path of a file with it",
        "没有设置；请设为 AppSecret，或把 WXSUB_SECRET_FILE 设为存放 AppSecret 的文件路径"
    );
    one_of(SECRET, SECRET_FILE, &missing, AppSecret::new, usage)
}

/// Reads the client key for the control server from its variable or its file.
pub(crate) fn key(usage: &mut UsageErrors) -> Option<ApiKey> {
    let missing = localized!(
        "is not set; set it to the client key, or set WXSUB_KEY_FILE to the path of a file with it",
        "没有设置；请设为客户端密钥，或把 WXSUB_KEY_FILE 设为存放密钥的文件路径"
    );
    one_of(KEY, KEY_FILE, &missing, ApiKey::new, usage)
}

/// The longest wait for a ledger, in seconds.
const MAX_LEDGER_WAIT: u64 = 3600;

/// How long a command waits for a ledger that another process has: 3 s unless set.
pub(crate) fn ledger_wait(usage: &mut UsageErrors) -> Option<Duration> {
    let Some(text) = value(LEDGER_WAIT, usage) else { return Some(Duration::from_secs(3)) };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_LEDGER_WAIT);
    if seconds.is_none() {
        usage.add(
            LEDGER_WAIT,
            localized!(
                "must be a whole number of seconds, at most {MAX_LEDGER_WAIT}",
                "必须是整数秒，最多 {MAX_LEDGER_WAIT}"
            ),
        );
    }
    seconds.map(Duration::from_secs)
}

/// Whether a variable for a control server is set.
pub(crate) fn uses_control_server() -> bool {
    [SERVER, KEY, KEY_FILE].into_iter().any(|name| !matches!(read(name), Ok(None)))
}

/// Adds an error for each variable of an AppSecret that is set. A control server needs none.
pub(crate) fn reject_secret(usage: &mut UsageErrors) {
    for name in [SECRET, SECRET_FILE].into_iter().filter(|name| !matches!(read(name), Ok(None))) {
        usage.add(
            name,
            localized!(
                "is set together with variables of a control server, which needs no AppSecret; unset one of them",
                "与中控服务器的变量同时设置，而使用中控服务器不需要 AppSecret；请取消其中一个"
            ),
        );
    }
}

fn one_of<T>(
    variable: &str,
    file_variable: &str,
    missing: &str,
    make: impl FnOnce(String) -> Result<T, ValidationError>,
    usage: &mut UsageErrors,
) -> Option<T> {
    match (value(variable, usage), value(file_variable, usage)) {
        (Some(_), Some(_)) => {
            usage.add(
                variable,
                localized!(
                    "is set together with {file_variable}; unset one of them",
                    "与 {file_variable} 同时设置；请取消其中一个"
                ),
            );
            None
        }
        (Some(secret), None) => usage.collect(variable, make(secret)),
        (None, Some(path)) => {
            let file = SecretFile::read_once(Path::new(&path)).map_err(|error| {
                usage.add(file_variable, unreadable_file(&error));
            });
            usage.collect(file_variable, make(std::mem::take(&mut *file.ok()?.text)))
        }
        (None, None) => {
            usage.add(variable, missing);
            None
        }
    }
}

/// What to say of a variable that names an unreadable file.
pub(crate) fn unreadable_file(error: &std::io::Error) -> String {
    let error = with_advice(error);
    localized!("names a file that cannot be read: {error}", "指定的文件无法读取：{error}")
}

struct NotUnicode;

#[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
fn read(name: &str) -> Result<Option<String>, NotUnicode> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(NotUnicode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_variable_of_the_locale_decides() {
        for (variables, expected) in [
            (&[][..], None),
            (&[("LANG", "zh_CN.UTF-8")], Some("zh_CN.UTF-8")),
            (&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")], Some("C")),
            (&[("LANG", "C"), ("LC_MESSAGES", "zh_CN")], Some("zh_CN")),
            (&[("LC_MESSAGES", "zh_CN"), ("LC_ALL", "en_US")], Some("en_US")),
        ] {
            let read = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(first_set(LOCALE, read).as_deref(), expected, "{variables:?}");
        }
    }
}
