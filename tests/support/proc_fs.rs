//! CPU time and memory of a process, from the kernel. A process is named by its id, or `self`.

use std::fmt::Display;
use std::fs;
use std::time::Duration;

/// The CPU time of all living threads of a process.
pub fn cpu(process: &(impl Display + ?Sized)) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads.map(|thread| on_cpu(&thread.path().join("schedstat").to_string_lossy())).sum()
}

/// The CPU time of the calling thread.
pub fn cpu_of_this_thread() -> Duration {
    on_cpu("/proc/thread-self/schedstat")
}

fn on_cpu(schedstat: &str) -> Duration {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).map(Duration::from_nanos).unwrap_or_default()
}

/// Resident memory now, in KiB.
pub fn resident(process: &(impl Display + ?Sized)) -> Option<u64> {
    status(process, "VmRSS:")
}

/// Peak resident memory, in KiB.
pub fn peak(process: &(impl Display + ?Sized)) -> Option<u64> {
    status(process, "VmHWM:")
}

fn status(process: &(impl Display + ?Sized), name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
