//! Small files with names that say what is in them.

use super::tree::files;

#[test]
fn no_file_is_longer_than_400_lines() {
    for (name, text) in files(".rs") {
        assert!(text.lines().count() <= 400, "{name} has {} lines", text.lines().count());
    }
}

#[test]
fn no_file_is_called_anything_and_everything() {
    for (name, _) in files(".rs") {
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(
            !["mod", "utils", "util", "common", "helpers", "types", "misc", "prelude"].contains(&stem),
            "{name}"
        );
    }
}

/// The lint that bans them can be silenced where it says why; these are the places, tests aside.
#[test]
fn clocks_and_environment_are_read_in_few_places() {
    const PLACES: [&str; 3] = [
        "crates/wxsub-core/src/clock.rs",
        "crates/wxsub-sandbox/src/clock/real.rs",
        "crates/wxsub-cli/src/environment.rs",
    ];
    for (name, text) in files(".rs").into_iter().filter(|(name, _)| name.contains("/src/")) {
        assert!(!text.contains("disallowed_methods") || PLACES.contains(&name.as_str()), "{name}");
    }
}

/// Libraries leave the process as they found it.
#[test]
fn libraries_install_nothing() {
    for (name, text) in files(".rs") {
        let library =
            name.starts_with("crates/") && name.contains("/src/") && !name.starts_with("crates/wxsub-cli/");
        if !library {
            continue;
        }
        for word in
            ["set_global_default", "install_default", "tracing_subscriber", "set_hook(", "env::set_var"]
        {
            assert!(!text.contains(word), "{name} uses {word}");
        }
    }
}

#[test]
fn nothing_is_skipped_or_left_to_do() {
    for (name, text) in files(".rs").into_iter().filter(|(name, _)| !name.ends_with("architecture/files.rs"))
    {
        for word in ["TODO", "FIXME", "#[ignore"] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}
