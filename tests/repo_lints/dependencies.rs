//! Dependencies point down only, and each crate uses only its libraries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use cargo_metadata::semver::Version;
use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};
use toml::{Table, Value};

use super::tree::top;

/// Which of our crates may depend on which: the drawing in ARCHITECTURE.md as a table.
const ARROWS: &[(&str, &str)] = &[
    ("wxsub-proto", ""),
    ("wxsub-api", "wxsub-proto"),
    ("wxsub-client", "wxsub-api wxsub-core wxsub-outbox wxsub-proto"),
    ("wxsub-core", "wxsub-proto"),
    ("wxsub-tls", "wxsub-core"),
    ("wxsub-hyper", "wxsub-client wxsub-core wxsub-tls"),
    ("wxsub-reqwest", "wxsub-client wxsub-core wxsub-tls"),
    ("wxsub-redis", "wxsub-core"),
    ("wxsub-outbox", "wxsub-core wxsub-proto"),
    ("wxsub-sqlite", "wxsub-core wxsub-outbox wxsub-proto"),
    ("wxsub-postgres", "wxsub-core wxsub-outbox wxsub-proto wxsub-tls"),
    ("wxsub-mysql", "wxsub-core wxsub-outbox wxsub-tls"),
    ("wxsub-console", "wxsub-api wxsub-core wxsub-outbox wxsub-proto"),
    ("wxsub-sandbox", "wxsub-proto"),
    ("wxsub-sandbox-transport", "wxsub-core wxsub-sandbox"),
    (
        "wxsub-server",
        "wxsub-api wxsub-console wxsub-core wxsub-hyper wxsub-mysql wxsub-outbox wxsub-postgres \
         wxsub-proto wxsub-redis wxsub-sqlite",
    ),
    (
        "wxsub-cli",
        "wxsub-api wxsub-client wxsub-core wxsub-hyper wxsub-mysql wxsub-outbox wxsub-postgres \
         wxsub-proto wxsub-sandbox wxsub-server wxsub-sqlite",
    ),
];

/// Members that may use every crate and library. No crate depends on them, except for its tests.
const PROGRAMS: [&str; 4] = ["wxsub-benches", "wxsub-examples", "wxsub-test-support", "wxsub-tests"];

/// Which libraries each of our crates may use.
const LIBRARIES: &[(&str, &str)] = &[
    (
        "wxsub-proto",
        "derive_more derive_setters getset percent-encoding serde serde_json strsim subtle thiserror zeroize",
    ),
    ("wxsub-api", "serde serde_json serde_with utoipa zeroize"),
    ("wxsub-client", "async-trait bytes futures-util http serde serde_json thiserror"),
    (
        "wxsub-core",
        "arc-swap async-trait auto_impl base16ct base64 bytes derive_more derive_setters fastrand \
         futures-channel futures-util getrandom getset hmac http jiff parking_lot serde serde_json sha2 subtle \
         thiserror tokio tracing zeroize",
    ),
    ("wxsub-tls", "derive_more derive_setters rustls rustls-native-certs thiserror webpki-roots"),
    (
        "wxsub-hyper",
        "base64 bytes derive_more http http-body-util hyper hyper-util parking_lot percent-encoding thiserror \
         tokio tokio-rustls tower-service",
    ),
    ("wxsub-reqwest", "bytes derive_more hyper parking_lot reqwest rustls"),
    (
        "wxsub-redis",
        "async-trait base16ct base64 derive_more derive_setters parking_lot redis ring thiserror tokio zeroize",
    ),
    (
        "wxsub-outbox",
        "async-trait derive_more derive_setters futures-util getrandom serde serde_json serde_with sha2 \
         thiserror tokio tracing utoipa uuid",
    ),
    ("wxsub-sqlite", "async-trait derive_more derive_setters rusqlite thiserror tokio"),
    ("wxsub-mysql", "async-trait derive_setters mysql_async thiserror"),
    (
        "wxsub-postgres",
        "async-trait bytes derive_more derive_setters futures-util thiserror tokio tokio-postgres \
         tokio-postgres-rustls uuid",
    ),
    (
        "wxsub-sandbox",
        "derive_more getrandom http-body-util httpdate hyper hyper-util jiff maud parking_lot percent-encoding serde \
         serde_json serde_path_to_error serde_with sha2 thiserror tokio",
    ),
    ("wxsub-console", "maud"),
    ("wxsub-sandbox-transport", "async-trait bytes derive_more derive_setters tokio"),
    (
        "wxsub-server",
        "arc-swap argon2 async-trait axum base16ct cookie derive_more derive_setters futures-util getrandom hmac \
         http-body-util httparse hyper hyper-util ipnet mio prometheus-client rustix rustls serde serde_json serde_with \
         sha2 socket2 strsim subtle thiserror tokio tokio-io-timeout tokio-rustls tokio-util toml tower-layer tower-service \
         tracing utoipa x509-parser zeroize",
    ),
    (
        "wxsub-cli",
        "axum clap clap_complete clap_mangen derive_more futures-util getrandom http-body-util httpdate hyper \
         hyper-util indicatif percent-encoding rlimit rpassword sd-notify serde serde_json serde_with tempfile \
         thiserror tokio tracing-subscriber zeroize",
    ),
];

/// The lock files of workspaces of their own that use our crates. A command of this workspace does not update them.
const OTHER_LOCK_FILES: [&str; 2] = ["crates/wxsub-proto/fuzz/Cargo.lock", "tests/drivers/Cargo.lock"];

fn packages() -> Vec<Package> {
    let mut command = MetadataCommand::new();
    command.current_dir(top()).no_deps().other_options(["--offline".into()]);
    command.exec().unwrap().packages
}

/// What a crate depends on, without dev-dependencies.
fn normal(package: &Package) -> impl Iterator<Item = &Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal)
}

/// The dependencies of each of our crates.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let names = |package: &Package| normal(package).map(|dependency| dependency.name.clone()).collect();
    packages().iter().map(|package| (package.name.to_string(), names(package))).collect()
}

fn check(table: &[(&str, &str)], is_checked: impl Fn(&str) -> bool) {
    for (name, used) in dependencies() {
        if PROGRAMS.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = table.iter().find(|(listed, _)| *listed == name) else {
            panic!("{name} is in no table; add what it may depend on");
        };
        for dependency in used.iter().filter(|dependency| is_checked(dependency)) {
            assert!(
                allowed.split(' ').any(|one| one == dependency),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn crate_dependencies_point_down() {
    check(ARROWS, |dependency| dependency.starts_with("wxsub-"));
}

#[test]
fn crates_use_only_their_libraries() {
    check(LIBRARIES, |dependency| !dependency.starts_with("wxsub-"));
}

#[test]
fn no_crate_depends_on_benches_examples_or_tests() {
    for (name, used) in dependencies().into_iter().filter(|(name, _)| !PROGRAMS.contains(&name.as_str())) {
        assert!(PROGRAMS.iter().all(|program| !used.contains(*program)), "{name}");
    }
}

/// Otherwise `--locked` fails there.
#[test]
fn other_lock_files_follow_our_crates() {
    let ours = packages();
    for name in OTHER_LOCK_FILES {
        let lock: Table = fs::read_to_string(top().join(name)).unwrap().parse().unwrap();
        let locked = lock["package"].as_array().unwrap();
        let text = |package: &Value, member: &str| package[member].as_str().unwrap().to_owned();
        let crates = ours.iter().filter_map(|crate_| {
            Some((crate_, locked.iter().find(|locked| text(locked, "name") == *crate_.name)?))
        });
        let mut checked = 0;
        for (package, entry) in crates {
            assert_eq!(text(entry, "version"), package.version.to_string(), "{name}: {}", package.name);
            // A name, and its version if there are several.
            let entries = entry["dependencies"].as_array().unwrap().iter();
            let used: BTreeSet<_> =
                entries.map(|one| one.as_str().unwrap().split(' ').next().unwrap()).collect();
            let is_locked = |wanted: &Dependency| {
                let found = locked.iter().filter(|locked| text(locked, "name") == wanted.name);
                let mut versions = found.map(|locked| text(locked, "version").parse::<Version>().unwrap());
                used.contains(&*wanted.name) && versions.any(|version| wanted.req.matches(&version))
            };
            let missing: Vec<_> =
                normal(package).filter(|wanted| !wanted.optional && !is_locked(wanted)).collect();
            assert!(missing.is_empty(), "{name}: {} depends on {missing:?}", package.name);
            let known: BTreeSet<_> = normal(package).map(|wanted| &*wanted.name).collect();
            assert!(used.is_subset(&known), "{name}: {} no longer depends on all of {used:?}", package.name);
            checked += 1;
        }
        assert!(checked > 0, "{name} has none of our crates");
    }
}

/// One TLS provider, ring; one HTTP client, hyper; no second HTTP version.
#[test]
fn binary_has_no_unwanted_library() {
    let arguments = ["tree", "--offline", "--package", "wxsub-cli", "--edges", "normal", "--prefix", "none"];
    let tree = Command::new(env!("CARGO")).args(arguments).current_dir(top()).output().unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let uses = |name: &str| tree.lines().any(|line| line.starts_with(&format!("{name} v")));
    for unwanted in ["aws-lc-rs", "openssl-sys", "native-tls", "h2", "h3", "reqwest"] {
        assert!(!uses(unwanted), "the binary depends on {unwanted}");
    }
    assert!(uses("ring") && uses("wxsub-cli"));
}
