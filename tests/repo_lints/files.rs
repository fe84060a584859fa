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

/// Files with tests that need another program, and what they say about it.
const IGNORED: &[(&str, &str)] = &[
    ("crates/wxsub-cli/tests/commands/served_sandbox.rs", CURL),
    ("crates/wxsub-cli/tests/commands/shops.rs", LANGUAGES),
    ("tests/browser/consent.rs", BROWSER),
    ("tests/browser/console.rs", BROWSER),
    ("tests/browser/console_pages.rs", PAGES),
    ("tests/browser/home.rs", BROWSER),
    ("tests/browser/cross_site.rs", BROWSER),
    ("tests/browser/invalid_urls.rs", BROWSER),
    ("crates/wxsub-cli/tests/commands/audit.rs", LOGROTATE),
    ("crates/wxsub-cli/tests/commands/disk.rs", NAMESPACES),
    ("crates/wxsub-cli/tests/commands/cluster.rs", REDIS),
    ("crates/wxsub-cli/tests/commands/cluster/check.rs", REDIS),
    ("crates/wxsub-cli/tests/commands/cluster/refusals.rs", REDIS),
    ("crates/wxsub-cli/tests/commands/cluster/rolling_upgrade.rs", OLDER_VERSION),
    ("crates/wxsub-cli/tests/commands/cluster/rotation.rs", REDIS),
    ("tests/redis/change_log.rs", REDIS),
    ("tests/redis/check.rs", REDIS),
    ("tests/redis/slow.rs", REDIS),
    ("tests/redis/old_layout.rs", REDIS),
    ("tests/redis/notifications.rs", REDIS),
    ("tests/redis/store.rs", REDIS),
    ("tests/redis/faults.rs", REDIS),
    ("tests/redis/refusals.rs", REDIS),
    ("tests/sdk/scenarios.rs", SDKS),
    ("crates/wxsub-cli/tests/commands/database.rs", POSTGRES),
    ("crates/wxsub-postgres/src/sql.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/backup.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/conformance.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/inbox.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/languages.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/lost_replies.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/own_inbox.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/refusals.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/machines.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/notifications.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/webhooks.rs", POSTGRES),
    ("crates/wxsub-postgres/tests/postgres/workers.rs", POSTGRES),
    ("crates/wxsub-server/tests/server/databases.rs", POSTGRES),
    ("crates/wxsub-server/tests/server/idempotency.rs", POSTGRES),
    ("crates/wxsub-server/tests/server/inboxes.rs", MARIADB),
    ("crates/wxsub-cli/tests/commands/inbox.rs", MARIADB),
    ("crates/wxsub-mysql/tests/mysql/conformance.rs", MARIADB),
    ("crates/wxsub-mysql/tests/mysql/languages.rs", MARIADB),
    ("crates/wxsub-mysql/tests/mysql/operating.rs", MARIADB),
    ("crates/wxsub-mysql/tests/mysql/transactions.rs", MARIADB),
];

const OLDER_VERSION: &str =
    "#[ignore = \"needs redis-server and an older binary: scripts/rolling-upgrade runs it\"]";
const REDIS: &str = "#[ignore = \"needs redis-server: scripts/test runs it\"]";
const POSTGRES: &str = "#[ignore = \"needs postgresql: scripts/test runs it\"]";
const MARIADB: &str = "#[ignore = \"needs mariadb-server: scripts/test runs it\"]";
const CURL: &str = "#[ignore = \"needs curl: scripts/test runs it\"]";
const LOGROTATE: &str = "#[ignore = \"needs logrotate: scripts/test runs it\"]";
const NAMESPACES: &str = "#[ignore = \"needs unshare and nsenter: scripts/test runs it\"]";
const BROWSER: &str = "#[ignore = \"needs Chromium and ChromeDriver: scripts/test runs it\"]";
const PAGES: &str = "#[ignore = \"needs Chromium, ChromeDriver, axe-core and nginx: scripts/test runs it\"]";
const LANGUAGES: &str = "#[ignore = \"needs php, node, a JDK and Go: scripts/test runs it\"]";
const SDKS: &str = "#[ignore = \"needs Python, Node and the SDKs: scripts/test runs it\"]";

/// A test may be ignored only if it needs another program and says so, and `scripts/test --all` installs the program and runs
/// the test.
#[test]
fn only_named_files_ignore_tests() {
    for (name, text) in files(".rs").into_iter().filter(|(name, _)| !name.ends_with("repo_lints/files.rs")) {
        let allowed = IGNORED.iter().find(|(listed, _)| *listed == name);
        let rest = allowed.map_or(text.clone(), |(_, reason)| text.replace(reason, ""));
        assert!(!rest.contains("#[ignore"), "{name} ignores a test");
        assert!(allowed.is_none() || rest != text, "{name} ignores no test; remove it from the list");
    }
    let script = std::fs::read_to_string(top().join("scripts/test")).unwrap();
    for (tests, package) in [
        ("--test browser -- --ignored", "chromium-driver"),
        ("axe --test browser -- --ignored", "npm"),
        ("--test browser -- --ignored", "nginx-light"),
        ("--lib --test postgres --test server -- --ignored", "postgresql"),
        ("--lib --test postgres --test server -- --ignored", "mariadb-server"),
        ("--test mysql -- --ignored", "mariadb-server"),
        ("--test mysql -- --ignored", "libmariadb-java"),
        ("--test redis --test commands -- --ignored", "redis-server"),
        ("--test redis --test commands -- --ignored", "curl"),
        ("--test redis --test commands -- --ignored", "logrotate"),
        ("--test redis --test commands -- --ignored", "util-linux"),
        ("--test redis --test commands -- --ignored", "php-cli"),
        ("--test redis --test commands -- --ignored", "default-jdk-headless"),
        ("--test redis --test commands -- --ignored", "golang-go"),
        ("--test redis --test commands -- --ignored", "nodejs"),
        ("--test sdk -- --ignored", "python3-venv"),
    ] {
        assert!(
            script.contains(tests) && script.contains(package),
            "scripts/test lacks {tests} or {package}"
        );
    }
}
