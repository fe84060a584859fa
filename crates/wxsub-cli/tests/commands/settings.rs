//! Environment variables.

use serde_json::Value;

use super::served::{Served, config};
use super::weixin::{APPID, SECRET, STABLE_TOKEN, Weixin};
use super::wxsub::{Wxsub, file, folder, wxsub};

#[test]
fn secret_comes_from_variable_or_file() {
    let weixin = Weixin::start();
    let show = || weixin.call(&["token", "show"]);
    for (name, content) in
        [("plain", SECRET.to_owned()), ("newline", format!("{SECRET}\n")), ("crlf", format!("{SECRET}\r\n"))]
    {
        let path = file(&format!("secret_{name}"), &content);
        let ended = show().without("WXSUB_SECRET").env("WXSUB_SECRET_FILE", &path).run();
        assert_eq!(ended.code, 0, "{ended:?}");
        show().env("WXSUB_SECRET_FILE", &path).run().assert_wrong(&["unset one of them"]);
        // An empty variable counts as unset.
        assert_eq!(show().env("WXSUB_SECRET", "").env("WXSUB_SECRET_FILE", &path).run().code, 0);
    }
    let path = file("secret_marked", &format!("\u{feff}{SECRET}\r\n"));
    assert_eq!(show().without("WXSUB_SECRET").env("WXSUB_SECRET_FILE", &path).run().code, 0);
    let before = weixin.seen_any();
    for (content, said) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("PLANTED secret", "has a character"),
        ("\"PLANTED\"\n", "must be given without quotes around it"),
        ("'PLANTED'", "must be given without quotes around it"),
    ] {
        let path = file("secret_bad", content);
        let ended = show().without("WXSUB_SECRET").env("WXSUB_SECRET_FILE", &path).run();
        ended.assert_wrong(&[said, "WXSUB_SECRET_FILE"]);
        assert!(!ended.err.contains("PLANTED"));
    }
    let path = file("secret_long", &"x".repeat(4097));
    let long = show().without("WXSUB_SECRET").env("WXSUB_SECRET_FILE", &path).run();
    long.assert_wrong(&["WXSUB_SECRET_FILE: names a file that cannot be read: it has more than 4096 bytes"]);
    show()
        .without("WXSUB_SECRET")
        .env("WXSUB_SECRET_FILE", "/nonexistent")
        .run()
        .assert_wrong(&["cannot be read"]);
    show().without("WXSUB_SECRET").run().assert_wrong(&["WXSUB_SECRET: is not set"]);
    assert_eq!(weixin.seen_any(), before);
}

#[test]
fn all_environment_problems_are_named_at_once() {
    wxsub(&["token", "show"])
        .env("WXSUB_API_BASE", "http://192.0.2.1")
        .env("WXSUB_TOKEN_ENDPOINT", "classic")
        .env("WXSUB_PROXY", "socks5://user:PLANTED@proxy")
        .env("WXSUB_APPID", "w x")
        .run()
        .assert_wrong(&[
            "WXSUB_APPID: ",
            "WXSUB_SECRET: ",
            "WXSUB_API_BASE: uses http:// for an address that is not loopback",
            "WXSUB_TOKEN_ENDPOINT: must be stable_token or token",
            "WXSUB_PROXY: invalid proxy URL",
        ]);
    let weixin = Weixin::start();
    for (hosts, said) in [
        ("https://a,https://a/", "is given more than once"),
        ("https://a,", "is empty"),
        ("https://a,http://192.0.2.1", "uses http:// for an address that is not loopback"),
    ] {
        weixin
            .call(&["token", "show"])
            .env("WXSUB_API_BASE", hosts)
            .run()
            .assert_wrong(&["WXSUB_API_BASE: ", said]);
    }
    let ended = weixin.call(&["token", "show"]).env("WXSUB_PROXY", "http://u:PLANTED@proxy?x").run();
    assert!(ended.code == 2 && !ended.err.contains("PLANTED"), "{}", ended.err);
    let path = file("no_certificate.pem", "hello");
    for (path, said) in [("/nonexistent", "cannot be read"), (path.as_str(), "no certificate found")] {
        weixin
            .call(&["token", "show"])
            .env("WXSUB_CA_FILE", path)
            .run()
            .assert_wrong(&["WXSUB_CA_FILE: ", said]);
    }
    // A file without an end.
    let endless = weixin.call(&["token", "show"]).env("WXSUB_CA_FILE", "/dev/zero");
    let ended = endless.under_shell("ulimit -v 2000000; exec \"$0\" \"$@\"").run();
    ended.assert_wrong(&["WXSUB_CA_FILE: names a file that cannot be read: it has more than 1048576 bytes"]);
}

/// The program of a user's passwords writes into a pipe.
#[cfg(target_os = "linux")]
#[test]
fn secret_can_come_from_a_pipe() {
    let weixin = Weixin::start();
    let show = weixin.call(&["token", "show"]).without("WXSUB_SECRET");
    let ended = show.env("WXSUB_SECRET_FILE", "/dev/stdin").input(format!("{SECRET}\n")).run();
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// It is read for each connection, so it must be a file. Nothing is read from one without an end.
#[cfg(unix)]
#[test]
fn password_file_of_a_database_is_a_regular_file() {
    let weixin = Weixin::start();
    let bounded = |words: &[&str], variable: &str| {
        let call = weixin.call(words).env(variable, "/dev/zero");
        call.under_shell("ulimit -v 2000000; exec \"$0\" \"$@\"").run()
    };
    let ledger = ["outbox", "list", "--outbox", "postgres://wxsub@127.0.0.1:1/shop"];
    bounded(&ledger, "WXSUB_LEDGER_PASSWORD_FILE").assert_wrong(&["/dev/zero: it is not a regular file"]);
    let (folder, inbox) = (folder(), ["--inbox", "mysql://wxsub@127.0.0.1:1/shop"]);
    let path = folder.path().join("ledger.db");
    let worker = ["outbox", "run", "--outbox", path.to_str().unwrap()];
    let worker = [&worker[..], &inbox].concat();
    bounded(&worker, "WXSUB_INBOX_PASSWORD_FILE").assert_wrong(&["/dev/zero: it is not a regular file"]);
    for (words, variable) in
        [(&ledger[..], "WXSUB_LEDGER_PASSWORD_FILE"), (&worker, "WXSUB_INBOX_PASSWORD_FILE")]
    {
        let script = format!("export {variable}=$(printf '\\377'); exec \"$0\" \"$@\"");
        let ended = weixin.call(words).under_shell(&script).run();
        ended.assert_wrong(&[&format!("{variable}: must be UTF-8 text")]);
    }
}

/// Each of these used to end as a refusal of Weixin's, or as a time-out.
#[test]
fn common_mistakes_are_named_before_the_network() {
    let weixin = Weixin::start();
    for command in [["token", "show"], ["doctor", "--json"]] {
        let call = || weixin.call(&command);
        for (variable, value, said) in [
            ("WXSUB_SECRET", "\"PLANTED\"", "WXSUB_SECRET: must be given without quotes around it"),
            (
                "WXSUB_API_BASE",
                "http://127.0.0.1:9/cgi-bin",
                "WXSUB_API_BASE: must be the part before /cgi-bin",
            ),
        ] {
            let ended = call().env(variable, value).run();
            assert_eq!(ended.code, 2, "{ended:?}");
            let shown = format!("{}{}", ended.out, ended.err);
            assert!(shown.contains(said) && !shown.contains("PLANTED"), "{shown}");
        }
        let ended = call()
            .env("WXSUB_API_BASE", "https://api.invalid")
            .env("HTTPS_PROXY", "http://u:PLANTED@192.0.2.1")
            .env("WXSUB_SECRET", "")
            .run();
        assert_eq!(ended.code, 2, "{ended:?}");
        let said = "warning: the proxy in HTTPS_PROXY is not used; set WXSUB_PROXY to use it, or add \
                    api.invalid to NO_PROXY\n";
        assert!(!ended.says(said).err.contains("PLANTED"));
    }
    assert_eq!(weixin.seen_any(), 0);
}

#[test]
fn missing_trust_roots_name_the_alternatives() {
    let weixin = Weixin::start();
    let show = weixin.call(&["token", "show"]).env("WXSUB_API_BASE", "https://127.0.0.1:1");
    let ended = show.env("SSL_CERT_FILE", "/nonexistent").run();
    ended.assert_wrong(&[
        "WXSUB_CA_FILE: is not set, and this machine has no certificate authorities",
        "set it to the path of a PEM file",
    ]);
    assert!(!ended.err.contains("bundled"), "{}", ended.err);
}

#[test]
fn flag_overrides_variable() {
    let weixin = Weixin::start();
    let ended = weixin.call(&["token", "show", "--appid", "wxOther"]).run();
    ended.said(3, "40013");
    weixin.call(&["token", "show", "--appid", ""]).run().assert_wrong(&["--appid: is empty"]);
}

#[test]
fn log_is_text_or_json() {
    let logged = |format| {
        let in_format = |call: Wxsub| call.env("WXSUB_LOG_FORMAT", format);
        let (_weixin, server, _) = Served::before_sandbox_by("log_format", "", in_format);
        server.wait_until_it_says("access token refreshed")
    };
    let output: Value = serde_json::from_str(&logged("json")).unwrap();
    assert_eq!((&output["level"], &output["fields"]["appid"]), (&"INFO".into(), &APPID.into()));
    assert_eq!(output["fields"]["message"], "access token refreshed");
    // A duration is a number of seconds, with its unit in the name.
    assert_eq!(output["fields"]["lifetime_s"], 7200);
    let output = logged("text");
    assert!(output.contains(&format!("access token refreshed appid=\"{APPID}\"")), "{output}");
    wxsub(&["check", "-"])
        .env("WXSUB_LOG_FORMAT", "xml")
        .run()
        .assert_wrong(&["WXSUB_LOG_FORMAT: must be text or json"]);
    wxsub(&["check", "-"]).env("RUST_LOG", "][").run().assert_wrong(&["RUST_LOG: is no log filter: "]);
}

/// The lines of the command itself too: errors of the command line, of the configuration and of a reload, and notes.
#[test]
fn every_line_is_json_in_the_json_format() {
    let levels = |lines: &str| -> Vec<String> {
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        let levels = lines.map(|line| {
            let timestamp = line["timestamp"].as_str().unwrap();
            assert!(
                wxsub_core::rfc3339::parse(timestamp).is_ok() && line["fields"]["message"].is_string(),
                "{line}"
            );
            line["level"].as_str().unwrap().to_owned()
        });
        levels.collect()
    };
    for call in [
        wxsub(&["serve", "--nonsense"]),
        wxsub(&["serve", "--check", "--config", "/nonexistent"]),
        wxsub(&["check", "/nonexistent"]),
    ] {
        let ended = call.env("WXSUB_LOG_FORMAT", "json").run();
        assert_eq!((ended.code, ended.out.as_str()), (2, ""));
        assert_eq!(levels(&ended.err), ["ERROR"], "{}", ended.err);
    }
    let weixin = Weixin::start();
    let path = config("log_json.toml", &weixin.base, "");
    let call = wxsub(&["serve", "--config", &path]).env("WXSUB_LOG_FORMAT", "json");
    let server = Served::start_as(call);
    server.wait_until_it_says("access token refreshed");
    std::fs::write(&path, "listen = 1").unwrap();
    server.hang_up("the configuration was not reloaded");
    let (_, said) = server.stop_and_read("TERM");
    assert!(levels(&said).contains(&"ERROR".to_owned()), "{said}");
}

#[test]
fn plain_http_needs_an_explicit_setting() {
    let consent_url = || {
        wxsub(&["consent", "url", "--appid", "wx1", "--template", "T", "--scene", "7", "--reserved", "r"])
            .args(&["--redirect", "https://a.example"])
            .env("WXSUB_MP_BASE", "http://192.0.2.1")
    };
    consent_url().run().assert_wrong(&["WXSUB_MP_BASE: uses http://"]);
    consent_url().env("WXSUB_ALLOW_HTTP", "0").run().assert_wrong(&["WXSUB_MP_BASE: uses http://"]);
    consent_url()
        .env("WXSUB_ALLOW_HTTP", "yes")
        .run()
        .assert_wrong(&["WXSUB_ALLOW_HTTP: must be 1, or unset"]);
    let ended = consent_url().env("WXSUB_ALLOW_HTTP", "1").run();
    assert_eq!(ended.code, 0);
    assert!(ended.out.starts_with("http://192.0.2.1/mp/subscribemsg?"));
    assert!(ended.err.starts_with("warning: WXSUB_MP_BASE is plain http://"), "{}", ended.err);
}

#[test]
fn proxy_setting_is_used() {
    // The sandbox is the proxy, so it gets all requests.
    let weixin = Weixin::start();
    let ended = weixin
        .call(&["token", "show"])
        .env("WXSUB_API_BASE", "http://127.0.0.1:9")
        .env("WXSUB_PROXY", &weixin.base)
        .run();
    assert_eq!((ended.code, weixin.seen(STABLE_TOKEN)), (0, 1), "{ended:?}");
    // Other proxy variables are ignored.
    let ended = weixin
        .call(&["token", "show"])
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .run();
    assert_eq!(ended.code, 0, "{ended:?}");
}
