//! How many connections fit into the limit of open files.

use crate::config::Limits;

/// Files of everything else: listeners, log, audit, state files, a reload, and the connections of the listener of `/metrics`.
const RESERVED_FILES: usize = 128;

/// The files that the process needs besides those of its connections. A request in flight and a refresh each call Weixin.
fn other_files(limits: &Limits, apps: usize) -> usize {
    limits.in_flight + apps + RESERVED_FILES
}

/// The files that the process needs to keep its limits.
pub(super) fn needed_files(limits: &Limits, apps: usize) -> usize {
    limits.connections + other_files(limits, apps)
}

/// The number of connections that the server accepts. A low limit of open files leaves a quarter of them to connections: each
/// can have a request in flight.
pub(super) fn max_connections(limits: &Limits, apps: usize, open_files: Option<usize>) -> usize {
    let Some(open_files) = open_files else { return limits.connections };
    open_files.saturating_sub(other_files(limits, apps)).max(open_files / 4).clamp(1, limits.connections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{read, with_app};

    #[test]
    fn connections_leave_files_for_the_rest() {
        let limits = read(&with_app("")).unwrap().0.limits;
        assert_eq!(needed_files(&limits, 100), 4096 + 1024 + 100 + 128);
        for (open_files, expected) in [
            (None, 4096),
            (Some(1 << 20), 4096),
            (Some(5348), 4096),
            (Some(5347), 4095),
            (Some(2048), 796),
            (Some(1024), 256),
            (Some(1), 1),
        ] {
            assert_eq!(max_connections(&limits, 100, open_files), expected, "{open_files:?}");
        }
    }
}
