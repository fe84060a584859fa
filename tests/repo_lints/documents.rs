//! The documents are complete, and what they say is true.

use std::fs;

use super::tree::{files, top};

/// The documents in the top folder, in `docs/` and in `docs/zh-CN/`.
fn documents() -> Vec<String> {
    let names = |folder: &str| {
        let entries = fs::read_dir(top().join(folder)).unwrap();
        let names =
            entries.map(|entry| format!("{folder}{}", entry.unwrap().file_name().into_string().unwrap()));
        names.filter(|name| name.ends_with(".md")).collect::<Vec<_>>()
    };
    [names(""), names("docs/"), names("docs/zh-CN/")].concat()
}

fn document(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn documents_list_every_crate() {
    let architecture = document("ARCHITECTURE.md");
    let drawing = architecture.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let documents = [
        ("README.md", document("README.md")),
        ("README.zh-CN.md", document("README.zh-CN.md")),
        ("the drawing of ARCHITECTURE.md", drawing.to_owned()),
        ("the rest of ARCHITECTURE.md", architecture.replace(drawing, "")),
    ];
    for (name, _) in files("Cargo.toml").iter().filter(|(name, _)| name.starts_with("crates/")) {
        let crate_name = name.split('/').nth(1).unwrap();
        for (document, text) in &documents {
            assert!(text.contains(crate_name), "{document} does not mention {crate_name}");
        }
    }
}

#[test]
fn links_between_documents_have_a_target() {
    for name in documents() {
        let text = document(&name);
        let folder = top().join(&name).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, chapter) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { top().join(&name) } else { folder.join(path) };
            assert!(path.exists(), "{name} links to {target}");
            if !chapter.is_empty() {
                let text = fs::read_to_string(path).unwrap();
                assert!(text.lines().any(|line| anchor(line) == chapter), "{name} links to {target}");
            }
        }
    }
}

/// An operator who is woken by an alert finds its row, and no row of an alert that is gone.
#[test]
fn every_alert_has_a_row_in_both_languages_and_a_test() {
    let rules = document("docs/operating/alerts.yml");
    let mut alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect();
    alerts.sort_unstable();
    alerts.dedup();
    assert!(alerts.len() > 20, "{alerts:?}");
    for name in ["docs/operating.md", "docs/zh-CN/operating.md"] {
        let text = document(name);
        let mut rows: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("| `Wxsub")?.split_once('`')).collect();
        rows.sort_unstable();
        let rows: Vec<_> = rows.iter().map(|(row, _)| format!("Wxsub{row}")).collect();
        assert_eq!(rows, alerts, "{name}");
    }
    let tests = document("docs/operating/alerts.test.yml");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} has no test");
    }
}

/// The name of a chapter in links, as GitHub makes it.
fn anchor(line: &str) -> String {
    let Some(title) = line.strip_prefix('#') else { return String::new() };
    let title = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    title.chars().filter(|character| character.is_alphanumeric() || "-_".contains(*character)).collect()
}

/// A Chinese document has the same code and commands as the English one, so a test of one covers both.
#[test]
fn chinese_documents_have_the_same_code_and_commands() {
    same_code_and_commands("README.md", "README.zh-CN.md");
    let readme = code_blocks(&document("README.md"));
    assert!(readme.len() > 6 && readme.iter().any(|block| block.starts_with("rust")), "{readme:?}");
    let names = documents();
    let chinese: Vec<_> = names.iter().filter(|name| name.starts_with("docs/zh-CN/")).collect();
    assert!(!chinese.is_empty());
    for name in chinese {
        same_code_and_commands(&name.replace("zh-CN/", ""), name);
    }
}

fn same_code_and_commands(english_name: &str, chinese_name: &str) {
    let (english, chinese) = (document(english_name), document(chinese_name));
    let to_chinese = chinese_name.strip_prefix("docs/").unwrap_or(chinese_name);
    let to_english = english_name.replace("docs/", "../");
    assert!(english.contains(&format!("]({to_chinese})")), "{english_name} has no link to {chinese_name}");
    assert!(chinese.contains(&format!("]({to_english})")), "{chinese_name} has no link to {english_name}");
    assert_eq!(code_blocks(&english), code_blocks(&chinese), "{chinese_name}");
    let rows = |text: &str| -> Vec<_> {
        let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        cells.filter(|cell| cell.contains('`')).map(str::to_owned).collect()
    };
    assert_eq!(rows(&english), rows(&chinese), "{chinese_name}");
    let chapters = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(chapters(&english), chapters(&chinese), "{chinese_name}");
}

/// The code blocks of a document, each with its language on the first line. Comments are cut off, because they are translated.
fn code_blocks(text: &str) -> Vec<String> {
    let blocks = text.split("\n```").skip(1).step_by(2);
    let uncommented = |line: &str| {
        let comment = line.find("# ").into_iter().chain(line.find("// ")).min();
        line[..comment.unwrap_or(line.len())].trim_end().to_owned()
    };
    blocks.map(|block| block.lines().map(uncommented).collect::<Vec<_>>().join("\n")).collect()
}

#[test]
fn readme_lists_every_command() {
    let readme = document("README.md");
    let mut commands: Vec<_> = files(".rs")
        .into_iter()
        .filter_map(|(name, _)| {
            let name = name.strip_prefix("crates/wxsub-cli/src/command/")?.strip_suffix(".rs")?.to_owned();
            Some(name).filter(|name| !name.contains('/'))
        })
        .collect();
    commands.sort();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let is_listed = ["` |", " "].iter().any(|end| readme.contains(&format!("| `wxsub {command}{end}")));
        assert!(is_listed, "README.md does not list {command}");
    }
}

#[test]
fn every_example_is_listed() {
    let readme = document("examples/README.md");
    for (name, text) in files(".rs").iter().filter(|(name, _)| name.starts_with("examples/")) {
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        if text.contains("fn main(") {
            assert!(readme.contains(&format!("`{stem}`")), "examples/README.md does not list {stem}");
        }
    }
}

/// The example of the README, and those of the transports, which are documentation tests.
#[test]
fn another_transport_changes_one_line() {
    let first_example = |name: &str, fence: &str| {
        let text = document(name);
        text.split(fence).nth(1).unwrap().split("```").next().unwrap().to_owned()
    };
    let over_reqwest = first_example("crates/wxsub-reqwest/src/lib.rs", "```no_run");
    let over_hyper = first_example("crates/wxsub-hyper/src/lib.rs", "```no_run");
    let differ = over_reqwest.lines().zip(over_hyper.lines()).filter(|(one, other)| one != other).count();
    assert_eq!((differ, over_reqwest.lines().count()), (1, over_hyper.lines().count()));
    let readme = first_example("README.md", "```rust,no_run");
    assert_eq!(readme.matches("wxsub_reqwest").count(), 1);
}

/// An endpoint file begins with method and path, and links the official page.
#[test]
fn endpoints_link_their_official_page() {
    for (name, text) in
        files(".rs").iter().filter(|(name, _)| name.starts_with("crates/wxsub-proto/src/endpoint/"))
    {
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("//! `GET /") || first.starts_with("//! `POST /"), "{name}: {first}");
        assert!(text.contains("//! <https://developers.weixin.qq.com/"), "{name} links no page");
    }
}

/// The code for moving an SDK is the code that `tests/sdk` runs.
#[test]
fn document_shows_sdk_code_as_tested() {
    let shown = document("docs/moving-sdks.md");
    for (name, language) in [("wechatpy/moved.py", "python"), ("co-wechat-api/moved.js", "js")] {
        let code = document(&format!("tests/sdk/{name}"));
        assert!(
            shown.contains(&format!("```{language}\n{code}```\n")),
            "docs/moving-sdks.md does not show {name}"
        );
    }
    let pinned = ["wechatpy/requirements.txt", "co-wechat-api/package.json"];
    let pinned = pinned.map(|name| document(&format!("tests/sdk/{name}"))).concat();
    let pinned = pinned.replace("==", " ").replace("\": \"", " ");
    for sdk in shown.split("Tested with ").skip(1).filter_map(|rest| rest.split(':').next()) {
        assert!(pinned.contains(sdk), "docs/moving-sdks.md says {sdk}");
    }
}

/// The code of the guide is the code of the example, which runs.
#[test]
fn guide_shows_the_code_of_its_example() {
    let (guide, example) = (document("docs/grants.md"), document("examples/axum_consent.rs"));
    let shown: Vec<_> =
        guide.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(shown.len(), 11);
    for code in shown {
        assert!(example.contains(code), "examples/axum_consent.rs has not: {code}");
    }
}

/// The code that verifies webhooks is that of the examples, which run.
#[test]
fn document_shows_webhook_code_as_tested() {
    let (shown, listed) = (document("docs/webhook-programs.md"), document("examples/README.md"));
    for (language, name) in [
        ("python", "python/shop.py"),
        ("js", "node/shop.js"),
        ("php", "php/shop.php"),
        ("java", "java/Shop.java"),
        ("go", "go/shop.go"),
    ] {
        let code = shown.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap();
        assert!(document(&format!("examples/{name}")).contains(code), "examples/{name} has not: {code}");
        for text in [&shown, &listed] {
            assert!(text.contains(name), "no link to examples/{name}");
        }
    }
}

#[test]
fn no_file_names_the_build_machine() {
    let mut all = files(".rs");
    for ending in [".md", "Cargo.toml", ".json", ".txt", ".py", ".js", ".php", ".java", ".go"] {
        all.extend(files(ending));
    }
    for name in documents().into_iter().chain(["Cargo.toml", ".ci/run"].map(str::to_owned)) {
        all.push((name.clone(), document(&name)));
    }
    for (name, text) in all.iter().filter(|(name, _)| !name.ends_with("repo_lints/documents.rs")) {
        for word in ["/work/", "/root/", "artifactory", "index.crates.io", "\"resolved\"", "index-url"] {
            assert!(!text.contains(word), "{name} says {word}");
        }
    }
}
