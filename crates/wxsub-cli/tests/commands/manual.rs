//! `wxsub completions` and `wxsub man`, which are generated from the definition of the command line.

use std::fs;

use super::wxsub::{file, folder, wxsub};

/// The commands that `wxsub --help` lists.
fn commands() -> Vec<String> {
    let help = wxsub(&["--help"]).run().out;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let names = list.lines().map(|line| line.split_whitespace().next().unwrap().to_owned());
    let commands: Vec<_> = names.filter(|name| name != "help").collect();
    assert!(commands.len() > 8 && commands.contains(&"man".to_owned()), "{commands:?}");
    commands
}

#[test]
fn completions_have_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = wxsub(&["completions", shell]).run();
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        for word in commands().iter().map(String::as_str).chain(["expect-reserved", "refresh"]) {
            assert!(ended.out.contains(word), "{shell} does not know {word}");
        }
    }
    wxsub(&["completions", "tcsh"]).run().assert_wrong(&["possible values: bash, elvish, fish"]);
}

#[test]
fn manual_has_every_command_variable_and_exit_code() {
    let ended = wxsub(&["man"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    for command in commands() {
        assert!(ended.out.contains(&format!("wxsub\\-{command}(1)")), "{command} is missing");
    }
    for text in ["WXSUB_TOKEN_ENDPOINT", "maybe sent: do not blindly repeat it"] {
        assert!(ended.out.contains(text), "{text} is missing");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let parent = folder();
    let folder = format!("{}/deep", parent.path().display());
    let ended = wxsub(&["man", "--out", &folder]).run();
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    let mut expected = vec!["wxsub.1".to_owned()];
    expected.extend(commands().iter().map(|command| format!("wxsub-{command}.1")));
    expected.extend(
        [
            "consent-key",
            "consent-url",
            "consent-verify",
            "grant-import",
            "grant-list",
            "grant-record",
            "grant-void",
            "key-new",
            "console-password",
            "ledger-backup",
            "ledger-check",
            "ledger-copy",
            "ledger-migrate",
            "ledger-prune",
            "ledger-restore",
            "outbox-add",
            "outbox-cancel",
            "outbox-decide",
            "outbox-list",
            "outbox-pause",
            "outbox-resume",
            "outbox-run",
            "outbox-show",
            "token-refresh",
            "token-show",
            "webhook-list",
            "webhook-redeliver",
            "webhook-secret",
            "webhook-verify",
        ]
        .map(|name| format!("wxsub-{name}.1")),
    );
    expected.sort();
    let mut pages: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    assert_eq!(pages, expected);
    assert_eq!(ended.err, format!("{} pages written to {folder}\n", pages.len()));
    for page in pages {
        let text = fs::read_to_string(format!("{folder}/{page}")).unwrap();
        assert!(text.contains(&format!(".TH {} 1", page.trim_end_matches(".1"))), "{page}");
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn unwritable_directory_is_named() {
    let taken = file("not_a_directory", "");
    wxsub(&["man", "--out", &taken]).run().assert_wrong(&[&format!("--out: {taken} cannot be written")]);
}
