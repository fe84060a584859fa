//! Errors in Chinese: what is wrong and what to do. Names of flags, variables and keys stay as they are.

use super::served::{KEY, Served, config};
use super::weixin::{SECRET, UNUSED_BASE, Weixin, pointed_at};
use super::wxsub::{Wxsub, file, wxsub};

/// Words of a command, which have no spaces, in Chinese. Words of `send` are followed by a message.
fn zh(words: &str) -> Wxsub {
    let call = wxsub(&["--lang", "zh"]).args(&words.split(' ').collect::<Vec<_>>()).env("RUST_LOG", "off");
    if words == "send" { call.message("o", "c") } else { call }
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
        (through(base, &unknown_key, "token show"), 4, "处理建议：请检查 WXSUB_KEY；"),
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
