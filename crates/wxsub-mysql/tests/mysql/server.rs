//! A private MariaDB on a free port with a folder of its own. The process ends with its value.

#![allow(dead_code, reason = "several programs have this module, and each uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;

use crate::free_port::free_port;

pub(crate) struct Mariadb {
    pub(crate) port: u16,
    folder: TempDir,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Mariadb {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these settings, such as `--read-only`. `FOLDER` in them is the server's folder.
    pub(crate) fn with(settings: &[&str]) -> Self {
        // In memory where there is such a folder: no test cuts the power.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        give_to_mysql(folder.path());
        let made = as_mysql("mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg(format!("--datadir={}", folder.path().join("data").display()))
            .arg(format!("--tmpdir={}", folder.path().display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&made.stderr));
        let path = folder.path().display().to_string();
        let settings = settings.iter().map(|setting| setting.replace("FOLDER", &path)).collect();
        let mut mariadb = Self { port: free_port(), folder, settings, child: None };
        mariadb.start_again();
        mariadb
    }

    /// Starts on the same port, with what it had stored.
    pub(crate) fn start_again(&mut self) {
        let folder = self.folder.path().display();
        let mut child = as_mysql("mariadbd")
            .arg("--no-defaults")
            .args([format!("--datadir={folder}/data"), format!("--socket={folder}/socket")])
            .args([format!("--port={}", self.port), format!("--pid-file={folder}/pid")])
            .arg(format!("--tmpdir={folder}"))
            .args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"])
            .args(["--innodb-buffer-pool-size=32M", "--max-connections=50"])
            .args(&self.settings)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| {
            log.push(line.clone());
            line.contains("ready for connections")
        });
        assert!(ready, "mariadbd did not start: {log:#?}");
        // It must not wait until its log is read.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether its process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Writes a file that the server reads at its start into a folder.
    pub(crate) fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        give_to_mysql(&path);
        path
    }

    pub(crate) fn socket(&self) -> String {
        self.folder.path().join("socket").display().to_string()
    }

    /// The address over TCP, for this user and database.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection of the administrator.
    pub(crate) async fn root(&self, database: Option<&str>) -> Conn {
        let options = OptsBuilder::default()
            .socket(Some(self.socket()))
            .prefer_socket(true)
            .user(Some("root"))
            .db_name(database);
        Conn::new(options).await.unwrap()
    }

    /// Runs statements as the administrator.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut root = self.root(None).await;
        for statement in statements {
            root.query_drop(*statement).await.unwrap();
        }
        root.disconnect().await.unwrap();
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The user `mysql`, if the tests run as the superuser: MariaDB does not.
fn mysql_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| (id(&["-u", "mysql"]).unwrap(), id(&["-g", "mysql"]).unwrap()))
}

fn as_mysql(program: &str) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = mysql_user() {
        command.uid(user).gid(group);
    }
    // Debian keeps the server in a folder for the superuser.
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command
}

fn give_to_mysql(path: &Path) {
    if let Some((user, group)) = mysql_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}
