//! Secrets from files and from the environment.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use wxsub_proto::{AppSecret, LocalizedText, ValidationError, localized_text};
use zeroize::Zeroizing;

use super::document::TableReader;
use super::file::{Links, is_readable_by_others, open_regular, unreadable_file};

/// Maximum number of bytes read from a secret file. Secrets are shorter.
const MAX_SECRET_BYTES: usize = 4096;

/// Warns of a secret file that is not private.
pub(super) const READABLE_BY_OTHERS: LocalizedText = LocalizedText::new(
    "names a file that every user of this machine can read; run chmod 600 on it",
    "指定的文件本机所有用户都可读；请对它执行 chmod 600",
);

/// The mark that some editors write at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file that holds one secret.
#[derive(Clone, derive_more::Debug)]
#[debug("SecretFile(***)")]
pub struct SecretFile {
    /// The content without byte order mark and without the newline at the end. Wiped on drop.
    pub text: Zeroizing<String>,
    /// Whether every user of this machine can read the file.
    pub is_readable_by_others: bool,
}

impl SecretFile {
    /// Reads the first 4096 bytes of a file. Secrets are shorter.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub fn read(path: &Path) -> io::Result<Self> {
        Self::from_file(File::open(path)?)
    }

    /// Like [`read`](Self::read), for a regular file only.
    pub(super) fn read_regular(path: &Path) -> io::Result<Self> {
        Self::from_file(open_regular(path, Links::Follow)?)
    }

    fn from_file(file: File) -> io::Result<Self> {
        // Full capacity from the start: growing would leave copies of the secret in memory.
        let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_BYTES));
        let is_readable_by_others = is_readable_by_others(&file);
        file.take(MAX_SECRET_BYTES as u64).read_to_string(&mut text)?;
        let end = without_newline(&text).len();
        text.truncate(end);
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        Ok(Self { text, is_readable_by_others })
    }
}

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
            None => section.refused(
                "secret_env",
                "names a variable that is not set or is empty; set it",
                "指定的环境变量没有设置或为空；请设置",
            ),
        },
        (Some(_), Some(_)) => section.refused(
            "secret_env",
            "is set together with secret_file; remove one of them",
            "与 secret_file 同时设置；请删除其中一项",
        ),
        (None, None) => section.refused(
            "secret_file",
            "is missing; name the file that holds the AppSecret, or use secret_env",
            "未填写；请填写存放 AppSecret 的文件，或使用 secret_env",
        ),
    }
}

/// Reads the line of the file that this key names. `None` if the key is absent, or has a problem.
pub(super) fn line(section: &mut TableReader<'_>, key: &str) -> Option<Zeroizing<String>> {
    let path = section.text(key)?;
    filled_line(section, key, &path)
}

/// Checks the file that this key names. `None` if the key is absent, or has a problem.
pub(super) fn path(section: &mut TableReader<'_>, key: &str) -> Option<PathBuf> {
    let path = section.text(key)?;
    filled_line(section, key, &path)?;
    Some(PathBuf::from(path))
}

fn filled_line(section: &TableReader<'_>, key: &str, path: &str) -> Option<Zeroizing<String>> {
    let line = read_line(section, key, path)?;
    match line.is_empty() {
        true => section.refused(
            key,
            "names a file that is empty; write the value to it",
            "指定的文件为空；请写入内容",
        ),
        false => Some(line),
    }
}

fn read_line(section: &TableReader<'_>, key: &str, path: &str) -> Option<Zeroizing<String>> {
    let file = SecretFile::read_regular(Path::new(path));
    let file = file.map_err(|error| section.problem(key, unreadable_file(path, &error))).ok()?;
    if file.is_readable_by_others {
        section.warning(key, READABLE_BY_OTHERS);
    }
    Some(file.text)
}

fn validate(section: &TableReader<'_>, key: &str, text: String) -> Option<AppSecret> {
    let refuse = |invalid: ValidationError| {
        let rule = invalid.rule().localized();
        section.problem(key, localized_text!("names a secret that {rule}", "指定的 AppSecret {rule}"; rule));
    };
    AppSecret::new(text).map_err(refuse).ok()
}

/// Removes one newline at the end.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_newline_is_stripped() {
        for (text, expected) in
            [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), ("s\r", "s\r"), ("\n", ""), ("", "")]
        {
            assert_eq!(without_newline(text), expected);
        }
    }
}
