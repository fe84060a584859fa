//! `wxsub completions` and `wxsub man`, which are generated from the definition of the command line.

use std::fs;

use super::wxsub::{file, folder, wxsub};

/// The commands that the help lists: of `wxsub`, or of one of its commands.
fn commands(of: &[&str]) -> Vec<String> {
    let help = wxsub(of).args(&["--help"]).run().out;
    let list = help.split_once("Commands:\n").map_or("", |(_, list)| list.split("\n\n").next().unwrap());
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !["", "help"].contains(name)).map(str::to_owned).collect()
}

#[test]
fn completions_have_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = wxsub(&["completions", shell]).run();
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        for word in commands(&[]).iter().map(String::as_str).chain(["expect-reserved", "refresh"]) {
            assert!(ended.out.contains(word), "{shell} does not know {word}");
        }
    }
    wxsub(&["completions", "tcsh"]).run().assert_wrong(&["possible values: bash, elvish, fish"]);
}

#[test]
fn manual_has_every_command_variable_and_exit_code() {
    let ended = wxsub(&["man"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    for command in commands(&[]) {
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
    let top = commands(&[]);
    assert!(top.len() > 8 && top.contains(&"man".to_owned()), "{top:?}");
    let nested =
        |command: &String| commands(&[command]).iter().map(|name| format!("{command}-{name}")).collect();
    let nested: Vec<String> = top.iter().flat_map::<Vec<_>, _>(nested).collect();
    assert!(nested.len() > 20 && nested.contains(&"outbox-add".to_owned()), "{nested:?}");
    let mut expected: Vec<_> = top.iter().chain(&nested).map(|name| format!("wxsub-{name}.1")).collect();
    expected.push("wxsub.1".to_owned());
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
