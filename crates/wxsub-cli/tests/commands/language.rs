//! Errors in Chinese: what is wrong and what to do. Names of flags, variables and keys stay as they are.

use std::path::{Path, PathBuf};

use super::served::{KEY, Served, config};
use super::weixin::{SECRET, UNUSED_BASE, Weixin, line, pointed_at};
use super::wxsub::{Wxsub, file, wxsub};

/// Words of a command, which have no spaces, in Chinese. Words of `send` are followed by a message.
fn zh(words: &str) -> Wxsub {
    let call = wxsub(&["--lang", "zh"]).args(&words.split(' ').collect::<Vec<_>>()).env("RUST_LOG", "off");
    if words == "send" { call.message("o", "c") } else { call }
}

/// All source files in this folder, without their tests.
fn sources(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => {
            let text = std::fs::read_to_string(&path).unwrap();
            vec![text.split("#[cfg(test)]").next().unwrap().to_owned()]
        }
    };
    entries.flat_map(read).collect()
}

/// A text for people comes from `localized!`. Commands and names stand for themselves.
#[test]
fn no_text_on_standard_error_is_in_one_language_only() {
    const CALLS: [&str; 7] = [
        "console::note(",
        "console::warning(",
        "console::error(",
        ".note(",
        "notes.push(",
        "CliError::usage(",
        "CliError::unexpected(",
    ];
    const NAMES: [&str; 6] = ["export", "name", "scopes", "consent", "admin", "webhook"];
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut seen = 0;
    for source in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        for (at, call) in CALLS.iter().flat_map(|call| source.match_indices(call)) {
            seen += 1;
            let argument = source[at + call.len()..].trim_start();
            let formatted = ["format_args!(", "format!("].iter().find_map(|name| argument.strip_prefix(name));
            let Some(text) = formatted.unwrap_or(argument).trim_start().strip_prefix('"') else { continue };
            let text = text.split('"').next().unwrap();
            let words = text.split_whitespace().map(|word| word.trim_matches([',', '.', ';', ':']));
            let words: Vec<_> = words.filter(is_word).filter(|word| !NAMES.contains(word)).collect();
            assert_eq!(words, [""; 0], "{text}");
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn results_and_progress_are_in_chinese() {
    let weixin = Weixin::start();
    weixin.allow("oUser", 7);
    let path = file("language.jsonl", &format!("{}\n{{}}\n", line("oUser", 7, "c")));
    let sent = pointed_at(&weixin.base, zh(&format!("send --file {path}"))).run();
    sent.said(2, "首个 invalid：第 2 行：").says("已发送 1，被拒绝 0，无效 1，未发出 0，可能已发出 0\n");
    let dry = pointed_at(&weixin.base, zh(&format!("send --dry-run --file {path}"))).run();
    dry.said(2, "试运行：将发送 1，无效 1；没有发出任何消息");
    zh("demo").run().said(0, "微信用户每授权一次").printed(0, "一次授权只能发送一条消息");
    zh("key new --name shop").run().said(0, "密钥交给客户端");
}

#[test]
fn errors_say_in_chinese_what_to_do() {
    let weixin = Weixin::start();
    let server = Served::start(&config("language.toml", &weixin.base, ""));
    let (base, unknown_key) = (server.base.as_str(), "k".repeat(43));
    let direct =
        |base: &str, secret: &str, words: &str| pointed_at(base, zh(words)).env("WXSUB_SECRET", secret);
    let through = |base: &str, key: &str, words: &str| zh(words).through(base, key);
    let bad = file("language_bad.toml", "listen = 1\nzzz = 1\n");
    for (call, exit, said) in [
        (zh("token show"), 2, "WXSUB_SECRET：没有设置；请设为 AppSecret"),
        (direct(UNUSED_BASE, SECRET, "token show"), 4, "无法连接；请检查网络、防火墙和地址"),
        (direct(&weixin.base, "PLANTED-secret", "token show"), 3, "处理建议：请"),
        (direct(UNUSED_BASE, SECRET, "send"), 4, "消息没有发出"),
        (through(UNUSED_BASE, KEY, "send"), 4, "无法连接中控服务器"),
        (through(&weixin.base, KEY, "send"), 5, "中控服务器的响应无效（状态码 404）；消息可能已发出"),
        (
            through(base, &unknown_key, "send"),
            4,
            "消息确定没有发出，可以放心重试；处理建议：请检查 WXSUB_KEY",
        ),
        (through(base, &unknown_key, "token show"), 4, "处理建议：请检查 WXSUB_KEY："),
        (through(UNUSED_BASE, KEY, "status"), 4, "无法连接中控服务器"),
        (direct(UNUSED_BASE, SECRET, "send --file /nowhere"), 2, "--file：/nowhere 无法读取："),
        (zh("consent verify x=1"), 2, "回调被拒绝："),
        (zh("check /nowhere --json"), 2, "/nowhere 无法读取："),
        (zh("serve --config /nowhere"), 2, "/nowhere：无法读取："),
        (zh(&format!("serve --check --config {bad}")), 2, "listen：必须是带引号的文本"),
        (zh(&format!("serve --check --config {bad}")), 2, ":2：zzz：是未知的配置项；请删除"),
    ] {
        let ended = call.run();
        ended.said(exit, said);
        assert!(ended.out.is_empty() && !ended.err.contains("PLANTED"), "{said}: {ended:?}");
    }
}
