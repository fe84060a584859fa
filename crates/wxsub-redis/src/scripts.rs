//! The scripts that run in Redis.

use std::sync::LazyLock;

use redis::Script;

pub(crate) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/load.lua")));
pub(crate) static COMPARE_AND_SET: LazyLock<Script> =
    LazyLock::new(|| changing(include_str!("scripts/compare_and_set.lua")));
pub(crate) static ACQUIRE_LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/acquire_lease.lua")));
pub(crate) static RELEASE_LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/release_lease.lua")));
pub(crate) static SET_FIELD: LazyLock<Script> =
    LazyLock::new(|| changing(include_str!("scripts/set_field.lua")));
pub(crate) static READ_CHANGES: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/read_changes.lua")));
pub(crate) static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/check.lua")));

/// A script that changes a record.
fn changing(script: &str) -> Script {
    Script::new(
        &[include_str!("scripts/read_layout.lua"), include_str!("scripts/announce.lua"), script].concat(),
    )
}

/// All scripts that the store needs.
pub(crate) static ALL: [&LazyLock<Script>; 6] =
    [&LOAD, &COMPARE_AND_SET, &ACQUIRE_LEASE, &RELEASE_LEASE, &SET_FIELD, &READ_CHANGES];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The commands that a script runs: the first argument of each call.
    fn commands<'a>(script: &'a str, calls: &[&str]) -> BTreeSet<&'a str> {
        let names = calls.iter().flat_map(|call| script.split(*call).skip(1));
        names.filter_map(|rest| rest.strip_prefix('\'')?.split('\'').next()).collect()
    }

    #[test]
    fn check_tries_each_command_of_the_scripts() {
        let scripts = [
            include_str!("scripts/load.lua"),
            include_str!("scripts/announce.lua"),
            include_str!("scripts/read_layout.lua"),
            include_str!("scripts/read_changes.lua"),
            include_str!("scripts/compare_and_set.lua"),
            include_str!("scripts/acquire_lease.lua"),
            include_str!("scripts/release_lease.lua"),
            include_str!("scripts/set_field.lua"),
        ];
        let used = scripts.iter().flat_map(|script| commands(script, &["redis.call(", "redis.pcall("]));
        let tried = commands(include_str!("scripts/check.lua"), &["try("]);
        assert_eq!(used.collect::<BTreeSet<_>>(), tried);
    }
}
