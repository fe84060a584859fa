//! Which file system a file is on: on one over the network, locks and synced writes cannot be relied on.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{OpenError, OpenErrorKind};

/// The kinds of file systems over the network, as Linux names them. `fuse` and `fuse.` stand for all that a program provides: most of
/// them are on another machine, and the others promise no more.
const NETWORK: [&str; 14] = [
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse", "gfs2", "gpfs", "lustre", "ncpfs", "ocfs2", "smb3",
    "vboxsf", "virtiofs",
];

/// Fails if the folder is on a file system over the network. Where Linux does not say, it counts as local.
pub(crate) fn check(folder: &Path, file: &Path) -> Result<(), OpenError> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match kind_of(&mounts, folder).filter(|kind| is_over_network(kind)) {
        None => Ok(()),
        Some(kind) => Err(OpenErrorKind::NetworkFileSystem(kind.to_owned()).at(file)),
    }
}

fn is_over_network(kind: &str) -> bool {
    NETWORK.contains(&kind) || kind.starts_with("nfs") || kind.starts_with("smb") || kind.starts_with("fuse.")
}

/// The kind of file system of a folder: that of the last mount with the longest path that contains it.
///
/// <https://www.kernel.org/doc/html/latest/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts>
fn kind_of<'a>(mountinfo: &'a str, folder: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = unescape(before.split(' ').nth(4)?);
        let point = Path::new(OsStr::from_bytes(&point));
        folder.starts_with(point).then_some((point.as_os_str().len(), after.split(' ').next()?))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(b'\\'));
        rest = after.get(code.map_or(0, |_| 3)..).unwrap_or_default();
    }
    bytes.extend(rest.bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:40 / /srv rw,relatime shared:5 - nfs4 filer:/srv rw,vers=4.2
31 30 254:1 / /srv/local rw,relatime - xfs /dev/vdb rw
32 22 0:41 / /mnt/my\\040share rw - cifs //host/share rw
33 22 0:42 / /mnt/remote rw - fuse.sshfs host:/ rw
34 22 0:43 / /mnt/guest rw - virtiofs tag rw
36 22 0:44 / /mnt/program rw - fuse program rw
37 22 0:45 / /mnt/box rw - vboxsf share rw
38 22 254:3 / /mnt/disk rw - fuseblk /dev/vdd rw
35 22 254:2 / /srv/local rw - btrfs /dev/vdc rw";

    #[test]
    fn the_innermost_mount_decides() {
        for (folder, kind, network) in [
            ("/var/lib/wxsub", "ext4", false),
            ("/srv", "nfs4", true),
            ("/srv/data", "nfs4", true),
            ("/srvdata", "ext4", false),
            ("/srv/local/a", "btrfs", false),
            ("/mnt/my share/a", "cifs", true),
            ("/mnt/remote", "fuse.sshfs", true),
            ("/mnt/guest/a", "virtiofs", true),
            ("/mnt/program", "fuse", true),
            ("/mnt/box", "vboxsf", true),
            ("/mnt/disk", "fuseblk", false),
        ] {
            assert_eq!(kind_of(MOUNTS, Path::new(folder)), Some(kind), "{folder}");
            assert_eq!(is_over_network(kind), network, "{kind}");
        }
        assert_eq!(kind_of("", Path::new("/")), None);
    }
}
