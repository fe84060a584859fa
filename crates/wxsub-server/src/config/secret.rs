//! AppSecrets, from files and from the environment.

use std::fs::File;
use std::io::Read;

use wxsub_proto::AppSecret;
use zeroize::Zeroizing;

use super::table_reader::TableReader;

/// The most that is read of a secret file, in bytes. No secret is that long.
const MOST: usize = 4096;

/// The secret of this app, from where its section says.
pub(super) fn read(
    section: &mut TableReader<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<AppSecret> {
    match (section.text("secret_file"), section.text("secret_env")) {
        (Some(path), None) => {
            let line = from_file(section, "secret_file", &path)?;
            keep(section, "secret_file", line.as_str().to_owned())
        }
        (None, Some(name)) => match environment(&name) {
            Some(text) => keep(section, "secret_env", text),
            None => {
                section.problem("secret_env", "names a variable that is not set, or is empty");
                None
            }
        },
        (Some(_), Some(_)) => {
            section.problem("secret_env", "stands beside secret_file; remove one of them");
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

/// The one line of the file that this key names, if it names one.
pub(super) fn line(section: &mut TableReader<'_>, key: &str) -> Option<Zeroizing<String>> {
    let path = section.text(key)?;
    let line = from_file(section, key, &path)?;
    if line.is_empty() {
        section.problem(key, "names a file that is empty");
    }
    Some(line).filter(|line| !line.is_empty())
}

fn from_file(section: &TableReader<'_>, key: &str, path: &str) -> Option<Zeroizing<String>> {
    // Room for all of it from the start, so that no piece is left behind in memory by growing.
    let mut text = Zeroizing::new(String::with_capacity(MOST));
    let file = File::open(path).and_then(|file| {
        if open_to_others(&file) {
            section.warning(key, "names a file that every user of this machine can read; chmod 600 it");
        }
        file.take(MOST as u64).read_to_string(&mut text)
    });
    match file {
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

fn keep(section: &TableReader<'_>, key: &str, text: String) -> Option<AppSecret> {
    AppSecret::new(text)
        .map_err(|invalid| section.problem(key, format_args!("names a secret that {}", invalid.rule())))
        .ok()
}

#[cfg(unix)]
fn open_to_others(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn open_to_others(_: &File) -> bool {
    false
}

/// The text without one newline at its end.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}
