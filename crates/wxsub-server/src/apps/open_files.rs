//! How many connections fit into the limit of open files.

use wxsub_proto::{LocalizedText, localized_text};

use crate::config::Limits;

/// Files of everything else: listeners, log, audit, state files, a reload, and the connections of the listener of `/metrics`.
const RESERVED_FILES: usize = 128;

/// The files that the process needs besides those of its connections. A request in flight and a refresh each call Weixin.
fn other_files(limits: &Limits, apps: usize) -> usize {
    limits.in_flight + apps + RESERVED_FILES
}

/// The files that the process needs to keep its limits.
fn needed_files(limits: &Limits, apps: usize) -> usize {
    limits.connections + other_files(limits, apps)
}

/// The number of connections that the server accepts. A low limit of open files leaves a quarter of them to connections: each
/// can have a request in flight.
pub(super) fn max_connections(limits: &Limits, apps: usize, open_files: Option<usize>) -> usize {
    let Some(open_files) = open_files else { return limits.connections };
    open_files.saturating_sub(other_files(limits, apps)).max(open_files / 4).clamp(1, limits.connections)
}

/// What to say of this limit of open files, if it is too low.
pub(super) fn open_files_warning(
    limits: &Limits,
    apps: usize,
    open_files: usize,
) -> Option<LocalizedText<String>> {
    let (needed, accepted) = (needed_files(limits, apps), max_connections(limits, apps, Some(open_files)));
    (accepted < limits.connections).then(|| {
        localized_text!(
            "the limit of open files is {open_files}, so the server accepts only {accepted} connections, fewer than \
             limits.connections; raise it to {needed} (LimitNOFILE of systemd, ulimit -n)",
            "打开文件数的上限是 {open_files}，因此服务器只接受 {accepted} 个连接，少于 limits.connections；\
             请提高到 {needed}（systemd 的 LimitNOFILE，或 ulimit -n）"
        )
    })
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
