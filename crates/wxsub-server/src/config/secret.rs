//! Secrets from files and from the environment.

use std::io;
use std::path::{Path, PathBuf};

use wxsub_core::secret_file::SecretFile;
use wxsub_proto::{AppSecret, LocalizedText, ValidationError, localized_text};
use zeroize::Zeroizing;

use super::document::TableReader;
use super::file::{Links, open_regular, unreadable_file};

/// Warns of a secret file that is not private.
pub(super) const READABLE_BY_OTHERS: LocalizedText = LocalizedText::new(
    "names a file that every user of this machine can read; run chmod 600 on it",
    "指定的文件本机所有用户都可读；请对它执行 chmod 600",
);

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

/// Reads a regular file with one secret.
pub(super) fn read_file(path: &Path) -> io::Result<SecretFile> {
    SecretFile::from_open_file(open_regular(path, Links::Follow)?)
}

fn read_line(section: &TableReader<'_>, key: &str, path: &str) -> Option<Zeroizing<String>> {
    let file = read_file(Path::new(path));
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
