//! The environment: read here and nowhere else.

use std::env::VarError;
use std::fs::File;
use std::io::{self, Read};

use wxsub_core::token::ApiKey;
use wxsub_proto::{AppSecret, ValidationError};

use crate::usage::UsageErrors;

/// The app, if there is no `--appid`.
pub(crate) const APPID: &str = "WXSUB_APPID";
/// Its secret.
pub(crate) const SECRET: &str = "WXSUB_SECRET";
/// Or the file that holds it.
pub(crate) const SECRET_FILE: &str = "WXSUB_SECRET_FILE";
/// The control server to use in Weixin's place.
pub(crate) const SERVER: &str = "WXSUB_SERVER";
/// What it knows this client by.
pub(crate) const KEY: &str = "WXSUB_KEY";
/// Or the file that holds it.
pub(crate) const KEY_FILE: &str = "WXSUB_KEY_FILE";
/// Where Weixin's API is.
pub(crate) const API_BASE: &str = "WXSUB_API_BASE";
/// Where Weixin's consent page is.
pub(crate) const MP_BASE: &str = "WXSUB_MP_BASE";
/// `1`: plain HTTP to any host.
pub(crate) const ALLOW_HTTP: &str = "WXSUB_ALLOW_HTTP";
/// Where tokens come from.
pub(crate) const TOKEN_ENDPOINT: &str = "WXSUB_TOKEN_ENDPOINT";
/// The proxy to go through.
pub(crate) const PROXY: &str = "WXSUB_PROXY";
/// The certificate authorities to trust instead of this machine's.
pub(crate) const CA_FILE: &str = "WXSUB_CA_FILE";
/// What to log.
pub(crate) const RUST_LOG: &str = "RUST_LOG";
/// For whom: people or programs.
pub(crate) const LOG_FORMAT: &str = "WXSUB_LOG_FORMAT";

/// The value of a variable. An empty one counts as unset.
pub(crate) fn value(name: &str, usage: &mut UsageErrors) -> Option<String> {
    match read(name) {
        Ok(value) => value,
        Err(NotUnicode) => {
            usage.add(name, "must be UTF-8 text");
            None
        }
    }
}

/// The value of a variable that nothing depends on.
pub(crate) fn value_lossy(name: &str) -> Option<String> {
    read(name).unwrap_or_default()
}

/// The secret, from its variable or from the file that the other one names.
pub(crate) fn secret(usage: &mut UsageErrors) -> Option<AppSecret> {
    let missing = "is not set; put the AppSecret there, or its file's path into WXSUB_SECRET_FILE";
    one_of(SECRET, SECRET_FILE, missing, AppSecret::new, usage)
}

/// The key for the control server, from its variable or from the file that the other one names.
pub(crate) fn key(usage: &mut UsageErrors) -> Option<ApiKey> {
    let missing = "is not set; put the client key there, or its file's path into WXSUB_KEY_FILE";
    one_of(KEY, KEY_FILE, missing, ApiKey::new, usage)
}

/// Whether a control server is to be used, or is meant to be.
pub(crate) fn uses_control_server() -> bool {
    [SERVER, KEY, KEY_FILE].into_iter().any(|name| !matches!(read(name), Ok(None)))
}

/// Beside a control server there is no secret.
pub(crate) fn no_secret(usage: &mut UsageErrors) {
    for name in [SECRET, SECRET_FILE].into_iter().filter(|name| !matches!(read(name), Ok(None))) {
        usage.add(
            name,
            "is set, and so are the variables of a control server, which needs no secret; unset one side",
        );
    }
}

/// The most that is read of a file with a secret, in bytes. No secret is that long.
const MOST: usize = 4096;

fn one_of<T>(
    variable: &str,
    file_variable: &str,
    missing: &str,
    make: impl FnOnce(String) -> Result<T, ValidationError>,
    usage: &mut UsageErrors,
) -> Option<T> {
    match (value(variable, usage), value(file_variable, usage)) {
        (Some(_), Some(_)) => {
            usage.add(variable, format_args!("is set, and so is {file_variable}; unset one of them"));
            None
        }
        (Some(secret), None) => usage.collect(variable, make(secret)),
        (None, Some(path)) => {
            let text = from_file(&path).map_err(|error| {
                usage.add(file_variable, format_args!("names a file that cannot be read: {error}"));
            });
            usage.collect(file_variable, make(text.ok()?))
        }
        (None, None) => {
            usage.add(variable, missing);
            None
        }
    }
}

fn from_file(path: &str) -> io::Result<String> {
    // Room for all of it from the start, so that no piece is left behind in memory by growing.
    let mut text = String::with_capacity(MOST);
    File::open(path)?.take(MOST as u64).read_to_string(&mut text)?;
    text.truncate(without_newline(&text).len());
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

/// Some editors put it at the beginning of a file.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text without one newline at its end.
pub(crate) fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

struct NotUnicode;

#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
fn read(name: &str) -> Result<Option<String>, NotUnicode> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(NotUnicode),
    }
}

#[cfg(test)]
mod tests {
    use super::without_newline;

    #[test]
    fn one_newline_is_stripped_and_no_more() {
        for (text, expected) in
            [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), ("s\r", "s\r"), ("\n", ""), ("", "")]
        {
            assert_eq!(without_newline(text), expected);
        }
    }
}
