//! The user of the system that a database server has.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user and the group that a server runs as if the tests run as the superuser: it refuses that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceUser(Option<(u32, u32)>);

impl ServiceUser {
    pub(crate) fn named(name: &str) -> Self {
        let id = |arguments: &[&str]| -> Option<u32> {
            let output = Command::new("id").args(arguments).output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        let is_superuser = id(&["-u"]) == Some(0);
        Self(is_superuser.then(|| (id(&["-u", name]).unwrap(), id(&["-g", name]).unwrap())))
    }

    /// A program that runs as this user.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Self(Some((user, group))) = self {
            command.uid(user).gid(group);
        }
        command.current_dir("/");
        command
    }

    /// Gives it a file or a folder.
    pub(crate) fn give(self, path: &Path) {
        if let Self(Some((user, group))) = self {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}
