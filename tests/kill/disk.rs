//! A disk that loses power: what was not synced is gone. It is a file with a file system, which the superuser mounts.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system in a file.
#[derive(Debug)]
pub(super) struct Disk {
    folder: TempDir,
    /// How often it has lost power. Each time the file system continues in a new file.
    losses: u32,
}

impl Disk {
    /// # Panics
    /// If this user may not mount.
    pub(super) fn mount() -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap(), losses: 0 };
        std::fs::create_dir(disk.mounted()).unwrap();
        run("truncate", &["--size=96M"], &[&disk.image()]);
        run("mkfs.ext4", &["-q", "-F"], &[&disk.image()]);
        disk.attach();
        disk
    }

    /// Where it is mounted.
    pub(super) fn mounted(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join(format!("image-{}", self.losses))
    }

    /// The system writes nothing by itself for as long as a run lasts.
    fn attach(&self) {
        run("mount", &["-o", "loop,commit=600"], &[&self.image(), &self.mounted()]);
    }

    /// Goes on with what is in the file now. What the system has buffered reaches the former file only.
    pub(super) fn lose_power(&mut self) {
        let former = self.image();
        self.losses += 1;
        run("cp", &["--sparse=always"], &[&former, &self.image()]);
        run("umount", &[], &[&self.mounted()]);
        std::fs::remove_file(former).unwrap();
        self.attach();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mounted()).status();
    }
}

fn run(program: &str, options: &[&str], paths: &[&Path]) {
    let ended = Command::new(program).args(options).args(paths).output().unwrap();
    assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
}
