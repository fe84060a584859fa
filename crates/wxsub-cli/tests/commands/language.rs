//! Errors in Chinese: what is wrong and what to do. Names of flags, variables and keys stay as they are.

use super::served::{ALL, Served, client, config};
use super::weixin::{APPID, SECRET, UNUSED_BASE, Weixin};
use super::wxsub::{Wxsub, file, wxsub};

const SEND: [&str; 13] = [
    "--lang",
    "zh",
    "send",
    "--to",
    "o",
    "--template",
    "T",
    "--scene",
    "1",
    "--title",
    "t",
    "--content",
    "c",
];

/// A call with these settings of the environment.
fn call<const N: usize>(arguments: [&str; N], environment: &[(&str, &str)]) -> Wxsub {
    let call = wxsub(arguments).env("RUST_LOG", "off");
    environment.iter().fold(call, |call, (name, value)| call.env(name, value))
}

#[test]
fn errors_say_in_chinese_what_to_do() {
    let weixin = Weixin::start();
    let (admin, lines) = client("admin", ALL);
    let server = Served::start(&config("language.toml", &weixin.base, &lines));
    let (base, unknown_key) = (server.base.as_str(), "k".repeat(43));
    let direct = [("WXSUB_APPID", APPID), ("WXSUB_SECRET", SECRET), ("WXSUB_API_BASE", UNUSED_BASE)];
    let mut wrong_secret = direct;
    (wrong_secret[1].1, wrong_secret[2].1) = ("PLANTED-secret", &weixin.base);
    let through = |base, key| [("WXSUB_APPID", APPID), ("WXSUB_SERVER", base), ("WXSUB_KEY", key)];
    let zh = |[first, second, third]: [&'static str; 3]| ["--lang", "zh", first, second, third];
    let bad = file("language_bad.toml", "listen = 1\nzzz = 1\n");
    for (ended, exit, said) in [
        (call(["--lang", "zh", "token", "show"], &[]).run(), 2, "WXSUB_SECRET：没有设置；请设为 AppSecret"),
        (call(["--lang", "zh", "token", "show"], &direct).run(), 4, "无法连接；请检查网络、防火墙和地址"),
        (call(["--lang", "zh", "token", "show"], &wrong_secret).run(), 3, "处理建议：请"),
        (call(SEND, &direct).run(), 4, "消息没有发出"),
        (call(SEND, &through(UNUSED_BASE, &admin)).run(), 4, "无法连接中控服务器"),
        (
            call(SEND, &through(base, &unknown_key)).run(),
            4,
            "消息确定没有发出，可以放心重试；处理建议：请检查 WXSUB_KEY",
        ),
        (
            call(["--lang", "zh", "token", "show"], &through(base, &unknown_key)).run(),
            4,
            "处理建议：请检查 WXSUB_KEY；",
        ),
        (call(["--lang", "zh", "status"], &through(UNUSED_BASE, &admin)).run(), 4, "无法连接中控服务器"),
        (call(zh(["send", "--file", "/nowhere"]), &direct).run(), 2, "--file：/nowhere 无法读取："),
        (call(zh(["consent", "verify", "x=1"]), &[]).run(), 2, "回调被拒绝："),
        (call(zh(["check", "/nowhere", "--json"]), &[]).run(), 2, "/nowhere 无法读取："),
        (call(zh(["serve", "--config", "/nowhere"]), &[]).run(), 2, "/nowhere：无法读取："),
        (
            wxsub(["--lang", "zh", "serve", "--check", "--config", &bad]).run(),
            2,
            "listen：必须是带引号的文本",
        ),
        (
            wxsub(["--lang", "zh", "serve", "--check", "--config", &bad]).run(),
            2,
            ":2：zzz：是未知的配置项；请删除",
        ),
    ] {
        assert_eq!((ended.code, ended.out.as_str()), (exit, ""), "{said}: {ended:?}");
        assert!(
            ended.err.contains(said) && !ended.err.contains("PLANTED"),
            "{said:?} is not in {}",
            ended.err
        );
    }
}
