//! The scripts that run in Redis.

use std::sync::LazyLock;

use redis::Script;

pub(crate) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/load.lua")));
pub(crate) static COMPARE_AND_SET: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/compare_and_set.lua")));
pub(crate) static ACQUIRE_LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/acquire_lease.lua")));
pub(crate) static RELEASE_LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/release_lease.lua")));
pub(crate) static SET_FIELD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/set_field.lua")));

/// All scripts.
pub(crate) static ALL: [&LazyLock<Script>; 5] =
    [&LOAD, &COMPARE_AND_SET, &ACQUIRE_LEASE, &RELEASE_LEASE, &SET_FIELD];
