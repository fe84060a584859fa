//! The files of `include`, which have more apps and clients.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};

use wxsub_proto::{LocalizedText, localized_text};

use super::document::{Document, Place, TableReader};
use super::file::{MAX_CONFIG_BYTES, read_text};

/// Maximum number of included files: one for each of 10 000 apps.
const MAX_FILES: usize = 10_000;

/// Maximum size of an included file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the files that `include` names, sorted by their names. `read_lists` reads the lists that such a file may have.
pub(super) fn read_all(top: &mut TableReader<'_>, read_lists: &mut dyn FnMut(&mut TableReader<'_>)) {
    let Some(pattern) = top.text("include") else { return };
    let Some((folder, prefix, suffix)) = split(&pattern) else {
        return top.refuse(
            "include",
            "must be a path whose last part has one *, like apps.d/*.toml",
            "必须是路径，且最后一段有一个 *，例如 apps.d/*.toml",
        );
    };
    let folder = top.folder().join(folder);
    let names = match matching(&folder, prefix, suffix) {
        Ok(names) => names,
        Err(error) => {
            let folder = absolute(&folder).unwrap_or(folder);
            let folder = folder.display();
            return top.problem(
                "include",
                localized_text!(
                    "names the folder {folder}, which cannot be read: {error}; create it, or remove include. A relative path of include \
                     starts at the folder of this file",
                    "指定的目录 {folder} 无法读取：{error}；请创建它，或删除 include。include 的相对路径从本文件所在目录开始"
                ),
            );
        }
    };
    if names.is_empty() {
        let folder = folder.display();
        top.warning(
            "include",
            localized_text!(
                "matches no file in {folder}; put one there, or remove include",
                "在目录 {folder} 中没有匹配的文件；请在其中放入文件，或删除 include"
            ),
        );
    }
    if names.len() > MAX_FILES {
        return top.problem(
            "include",
            localized_text!(
                "matches more than {MAX_FILES} files; put several apps into one file",
                "匹配的文件超过 {MAX_FILES} 个；请把多个应用写在一个文件中"
            ),
        );
    }
    let mut bytes = 0;
    for path in names.into_iter().map(|name| folder.join(name)) {
        bytes += read(top, &path, read_lists);
        if bytes > MAX_CONFIG_BYTES {
            return top.problem(
                "include",
                localized_text!(
                    "matches files of more than {MAX_CONFIG_BYTES} bytes together; remove some",
                    "匹配的文件合计超过 {MAX_CONFIG_BYTES} 字节；请减少文件"
                ),
            );
        }
    }
}

/// Reads one file. Returns its size in bytes.
fn read(top: &TableReader<'_>, path: &Path, read_lists: &mut dyn FnMut(&mut TableReader<'_>)) -> u64 {
    let text = match read_text(path, MAX_FILE_BYTES) {
        Ok(text) => text,
        Err(error) => {
            top.problem_at(Place::of_file(path), error);
            return 0;
        }
    };
    let document = Document::new(&text, Some(path));
    if let Some(mut table) = document.parse() {
        if !table.has("apps") && !table.has("clients") {
            table.warn(
                "",
                "has no [[apps]] and no [[clients]]; add some, or remove the file",
                "没有 [[apps]]，也没有 [[clients]]；请添加，或删除该文件",
            );
        }
        read_lists(&mut table);
        table.finish_with(LocalizedText::new(
            "is not allowed in an included file, which has only [[apps]] and [[clients]]; move it to the main file, or correct \
             its spelling",
            "不能出现在 include 的文件中，这种文件只有 [[apps]] 和 [[clients]]；请移到主配置文件，或改正拼写",
        ));
    }
    top.absorb(document);
    text.len() as u64
}

/// The folder of a pattern, and what its file name has before and after the `*`.
fn split(pattern: &str) -> Option<(&Path, &str, &str)> {
    let path = Path::new(pattern);
    let (prefix, suffix) = path.file_name()?.to_str()?.split_once('*')?;
    let folder = path.parent()?;
    let has_one_star = !suffix.contains('*') && !folder.to_str()?.contains('*');
    has_one_star.then_some((folder, prefix, suffix))
}

/// The names of files that match, in their order. A `*` matches no dot at the beginning, as in a shell. Ends after
/// [`MAX_FILES`] and one more.
fn matching(folder: &Path, prefix: &str, suffix: &str) -> io::Result<Vec<OsString>> {
    let is_match = |name: &OsString| {
        let name = name.to_string_lossy();
        let rest = name.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix));
        rest && (prefix.starts_with('.') || !name.starts_with('.'))
    };
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(Some(entry?.file_name()).filter(is_match));
        if names.len() > MAX_FILES {
            break;
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use crate::config::Config;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn app(digit: char) -> String {
        format!(
            "[[apps]]\nappid = \"wx000000000000000{digit}\"\nsecret_env = \"S\"\ntoken_endpoint = \"token\"\n\
             api_base = \"http://127.0.0.1:1\"\n"
        )
    }

    fn client(name: &str) -> String {
        format!(
            "[[clients]]\nname = \"{name}\"\nkey_sha256 = \"{DIGEST}\"\napps = [\"*\"]\nscopes = [\"admin\"]\n"
        )
    }

    /// A folder with a main file that includes `apps.d/*.toml`, and with these files.
    fn folder(main: &str, files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("apps.d")).unwrap();
        fs::write(folder.path().join("wxsub.toml"), format!("include = \"apps.d/*.toml\"\n{main}")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("apps.d").join(name), text).unwrap();
        }
        folder
    }

    /// The configuration with its warnings, or its problems. Paths are relative to the folder.
    fn read(folder: &TempDir) -> Result<(Config, Vec<String>), Vec<String>> {
        let shown = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
        match Config::from_file(&folder.path().join("wxsub.toml"), |_| Some("PLANTED".to_owned())) {
            Ok((config, warnings)) => {
                Ok((config, warnings.iter().map(|one| shown(one.to_string())).collect()))
            }
            Err(error) => Err(error.problems().map(|one| shown(one.to_string())).collect()),
        }
    }

    #[test]
    fn apps_and_clients_of_files_follow_those_of_the_main_file_by_name() {
        let files = [
            ("b.toml", app('3')),
            ("a.toml", app('2') + &client("from-file")),
            (".hidden.toml", "x".to_owned()),
            ("b.toml~", "x".to_owned()),
        ];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        let (config, warnings) = read(&folder(&app('1'), &files)).unwrap();
        assert_eq!(warnings, [""; 0]);
        let last = |appid: &wxsub_proto::AppId| appid.as_str().chars().last().unwrap();
        assert_eq!(config.apps.iter().map(|app| last(&app.appid)).collect::<String>(), "123");
        assert_eq!(config.clients[0].name, "from-file");
    }

    #[test]
    fn each_problem_names_file_line_and_key() {
        let found =
            |name: &str, text: &str| read(&folder(&app('1'), &[("a.toml", ""), (name, text)])).unwrap_err();
        for (text, expected) in [
            ("x =".to_owned(), "apps.d/b.toml:1: is not TOML: "),
            (app('2').replace("\"S\"", "1"), "apps.d/b.toml:3: apps[0].secret_env: must be text in quotes"),
            (app('2') + "tokn = 1\n", "apps.d/b.toml:6: apps[0].tokn: is an unknown key"),
            (
                "[ledger]\nurl = \"sqlite:x\"\n".to_owned(),
                "apps.d/b.toml:1: ledger: is not allowed in an included file",
            ),
            ("include = \"*.toml\"\n".to_owned(), "apps.d/b.toml:1: include: is not allowed"),
            (
                "\n".to_owned() + &app('1'),
                "apps.d/b.toml:2: apps[0]: appid wx0000000000000001 is used twice, first in wxsub.toml:2",
            ),
            ("x".repeat(1 << 21), "apps.d/b.toml: cannot be read: it is larger than 1048576 bytes"),
        ] {
            let problems = found("b.toml", &text);
            assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:?}");
            assert!(!format!("{problems:?}").contains("PLANTED"));
        }
        let twice = folder("", &[("a.toml", &app('1')), ("b.toml", &app('1'))]);
        let expected = "apps.d/b.toml:1: apps[0]: appid wx0000000000000001 is used twice, first in apps.d/a.toml:1; make it unique";
        assert_eq!(read(&twice).unwrap_err(), [expected]);
        let keys = folder(&app('1'), &[("a.toml", &client("a")), ("b.toml", &client("b"))]);
        let problems = read(&keys).unwrap_err();
        assert!(
            problems[0].starts_with("apps.d/b.toml:1: clients[0]: key_sha256 ")
                && problems[0].contains("first in apps.d/a.toml:1"),
            "{problems:?}"
        );
    }

    #[test]
    fn pattern_and_folder_are_checked() {
        let with_pattern = |pattern: &str| {
            let folder = folder("", &[]);
            fs::write(folder.path().join("wxsub.toml"), format!("include = {pattern:?}\n{}", app('1')))
                .unwrap();
            read(&folder)
        };
        for pattern in ["", "apps.d", "apps.d/a.toml", "*/a.toml", "*/*.toml", "apps.d/**", "apps.d/*x*"] {
            let problems = with_pattern(pattern).unwrap_err();
            assert!(
                problems[0].starts_with("wxsub.toml:1: include: must be a path"),
                "{pattern}: {problems:?}"
            );
        }
        let problems = with_pattern("missing.d/*.toml").unwrap_err();
        assert!(problems[0].contains("names the folder missing.d, which cannot be read"), "{problems:?}");
        let (_, warnings) = with_pattern("apps.d/*.toml").unwrap();
        assert_eq!(
            warnings,
            ["wxsub.toml:1: include: matches no file in apps.d; put one there, or remove include"]
        );
        let (_, warnings) = read(&folder(&app('1'), &[("a.toml", "# later\n")])).unwrap();
        assert_eq!(
            warnings,
            ["apps.d/a.toml: has no [[apps]] and no [[clients]]; add some, or remove the file"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_included() {
        let folder = folder(&app('1'), &[]);
        fs::create_dir(folder.path().join("apps.d/a.toml")).unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("apps.d/b.toml")).unwrap();
        let problems = read(&folder).unwrap_err();
        assert_eq!(problems[0], "apps.d/a.toml: cannot be read: it is not a regular file");
        assert!(problems[1].starts_with("apps.d/b.toml: cannot be read: "), "{problems:?}");
    }

    #[test]
    fn files_of_more_than_16_mib_together_are_refused() {
        let names: Vec<_> = (10..27).map(|number| format!("{number}.toml")).collect();
        let text = "#".repeat(1 << 20);
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), text.as_str())).collect();
        let problems = read(&folder(&app('1'), &files)).unwrap_err();
        assert_eq!(
            problems,
            ["wxsub.toml:1: include: matches files of more than 16777216 bytes together; remove some"]
        );
    }
}
