//! Secrets from files and from the environment.

use std::fs::File;
use std::io::Read;

use wxsub_proto::AppSecret;
use zeroize::Zeroizing;

use super::document::TableReader;

/// Maximum number of bytes read from a secret file. Secrets are shorter.
const MAX_SECRET_BYTES: usize = 4096;

/// Reads the AppSecret of an app from `secret_file` or `secret_env`.
pub(super) fn read(
    section: &mut TableReader<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<AppSecret> {
    match (section.text("secret_file"), section.text("secret_env")) {
        (Some(path), None) => {
            let line = read_line(section, "secret_file", &path)?;
            validate(section, "secret_file", line.as_str().to_owned())
        }
        (None, Some(name)) => match environment(&name) {
            Some(text) => validate(section, "secret_env", text),
            None => {
                section.problem("secret_env", "names a variable that is not set or is empty; set it");
                None
            }
        },
        (Some(_), Some(_)) => {
            section.problem("secret_env", "is set together with secret_file; remove one of them");
            None
        }
        (None, None) => {
            section.problem(
                "secret_file",
                "is missing; name the file that holds the AppSecret, or use secret_env",
            );
            None
        }
    }
}

/// Reads the line of the file that this key names. `None` if the key is absent, or has a problem.
pub(super) fn line(section: &mut TableReader<'_>, key: &str) -> Option<Zeroizing<String>> {
    let path = section.text(key)?;
    let line = read_line(section, key, &path)?;
    if line.is_empty() {
        section.problem(key, "names a file that is empty; write the value to it");
    }
    Some(line).filter(|line| !line.is_empty())
}

fn read_line(section: &TableReader<'_>, key: &str, path: &str) -> Option<Zeroizing<String>> {
    // Full capacity from the start: growing would leave copies of the secret in memory.
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_BYTES));
    let read = File::open(path).and_then(|file| {
        if is_readable_by_others(&file) {
            section
                .warning(key, "names a file that every user of this machine can read; run chmod 600 on it");
        }
        file.take(MAX_SECRET_BYTES as u64).read_to_string(&mut text)
    });
    match read {
        Ok(_) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            Some(Zeroizing::new(without_newline(text).to_owned()))
        }
        Err(error) => {
            section.problem(key, format_args!("names a file that cannot be read: {error}"));
            None
        }
    }
}

fn validate(section: &TableReader<'_>, key: &str, text: String) -> Option<AppSecret> {
    AppSecret::new(text)
        .map_err(|invalid| section.problem(key, format_args!("names a secret that {}", invalid.rule())))
        .ok()
}

#[cfg(unix)]
fn is_readable_by_others(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_: &File) -> bool {
    false
}

/// Removes one newline at the end.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}
