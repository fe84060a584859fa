//! Files have a bounded length and a name that says what is in them.

use super::tree::{files, top};

#[test]
fn no_file_is_longer_than_700_lines() {
    for (name, text) in files(".rs") {
        assert!(text.lines().count() <= 700, "{name} has {} lines", text.lines().count());
    }
}

#[test]
fn file_names_are_specific() {
    for (name, _) in files(".rs") {
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(
            !["mod", "utils", "util", "common", "helpers", "types", "misc", "prelude"].contains(&stem),
            "{name}"
        );
    }
}

/// A lint bans reading clocks and environment. Only these files may silence it, tests aside.
#[test]
fn clocks_and_environment_are_read_in_named_files() {
    const PLACES: [&str; 3] = [
        "crates/wxsub-core/src/clock.rs",
        "crates/wxsub-sandbox/src/clock.rs",
        "crates/wxsub-cli/src/environment.rs",
    ];
    for (name, text) in files(".rs").into_iter().filter(|(name, _)| name.contains("/src/")) {
        assert!(!text.contains("disallowed_methods") || PLACES.contains(&name.as_str()), "{name}");
    }
}

/// Libraries change no state of the process.
#[test]
fn libraries_change_no_process_state() {
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
fn no_open_tasks_in_code() {
    for (name, text) in files(".rs").into_iter().filter(|(name, _)| !name.ends_with("repo_lints/files.rs")) {
        for word in ["TODO", "FIXME"] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

/// Ignored tests: where they are, what they say that they need, the command of `scripts/test` that runs them, and the packages that
/// it installs for them.
const IGNORED: &[(&str, &str, &str, &str)] = &[
    ("tests/browser/", "Chromium and ChromeDriver", BROWSER, "chromium chromium-driver"),
    (
        "tests/browser/",
        "Chromium, ChromeDriver, axe-core and nginx",
        BROWSER,
        "chromium-driver npm nginx-light",
    ),
    ("tests/redis/", "redis-server", COMMANDS, "redis-server"),
    ("tests/sdk/", "Python, Node and the SDKs", "tests --test sdk", "python3-venv nodejs npm"),
    ("crates/wxsub-cli/tests/commands/", "curl", COMMANDS, "curl"),
    ("crates/wxsub-cli/tests/commands/", "logrotate", COMMANDS, "logrotate"),
    ("crates/wxsub-cli/tests/commands/", "mariadb-server", COMMANDS, "mariadb-server"),
    ("crates/wxsub-cli/tests/commands/", "postgresql", COMMANDS, "postgresql"),
    ("crates/wxsub-cli/tests/commands/", "redis-server", COMMANDS, "redis-server"),
    ("crates/wxsub-cli/tests/commands/", "unshare and nsenter", COMMANDS, "util-linux"),
    (
        "crates/wxsub-cli/tests/commands/",
        "php, node, a JDK and Go",
        COMMANDS,
        "php-cli nodejs default-jdk-headless golang-go",
    ),
    ("crates/wxsub-postgres/", "postgresql", POSTGRES, "postgresql"),
    ("crates/wxsub-server/tests/server/", "postgresql", POSTGRES, "postgresql"),
    ("crates/wxsub-server/tests/server/", "mariadb-server", POSTGRES, "mariadb-server"),
    (
        "crates/wxsub-mysql/tests/",
        "mariadb-server",
        "with_npm drivers --test mysql",
        "mariadb-server libmariadb-java",
    ),
];

const BROWSER: &str = "with_npm axe --test browser";
const COMMANDS: &str = "tests --test redis --test commands";
const POSTGRES: &str = "with_npm drivers --lib --test postgres --test server";

/// `scripts/rolling-upgrade` runs it, which builds what it needs.
const OLDER_VERSION: &str =
    "#[ignore = \"needs redis-server and an older binary: scripts/rolling-upgrade runs it\"]";

/// A test may be ignored only if it needs another program and says so, and `scripts/test --all` installs the program and runs
/// the test.
#[test]
fn ignored_tests_say_what_they_need_and_are_run() {
    let mut unused: Vec<_> = IGNORED.iter().collect();
    for (name, text) in files(".rs").into_iter().filter(|(name, _)| !name.ends_with("repo_lints/files.rs")) {
        let mut rest = text.replace(OLDER_VERSION, "");
        for (place, needs, ..) in IGNORED.iter().filter(|(place, ..)| name.starts_with(place)) {
            let reason = format!("#[ignore = \"needs {needs}: scripts/test runs it\"]");
            if rest.contains(&reason) {
                unused.retain(|(other, needed, ..)| (other, needed) != (place, needs));
            }
            rest = rest.replace(&reason, "");
        }
        assert!(!rest.contains("#[ignore"), "{name} ignores a test");
    }
    assert!(unused.is_empty(), "no test is ignored for this; remove it from the list: {unused:?}");
    let script = std::fs::read_to_string(top().join("scripts/test")).unwrap();
    let words: Vec<_> = script.split_whitespace().collect();
    for (_, _, command, packages) in IGNORED {
        assert!(script.contains(&format!("{command} -- --ignored")), "scripts/test lacks {command}");
        for package in packages.split(' ') {
            assert!(words.contains(&package), "scripts/test lacks {package}");
        }
    }
}
