//! A private MariaDB on a free port with a folder of its own. The process ends with its value.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;

use crate::service_user::ServiceUser;
use crate::{Process, Stream, free_port, memory_folder, succeed};

/// A running `mariadbd`.
#[derive(Debug)]
pub struct Mariadb {
    /// Its port.
    pub port: u16,
    settings: Vec<String>,
    process: Option<Process>,
    // Deleted after the process has ended.
    folder: TempDir,
}

impl Mariadb {
    /// With default settings, and its data in memory.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these settings, such as `--read-only`. `FOLDER` in them is the server's folder.
    pub fn with(settings: &[&str]) -> Self {
        let folder = memory_folder();
        user().give(folder.path());
        succeed(
            command("mariadb-install-db")
                .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
                .arg(format!("--datadir={}", folder.path().join("data").display()))
                .arg(format!("--tmpdir={}", folder.path().display())),
        );
        let path = folder.path().display().to_string();
        let settings = settings.iter().map(|setting| setting.replace("FOLDER", &path)).collect();
        let mut mariadb = Self { port: free_port(), folder, settings, process: None };
        mariadb.start_again();
        mariadb
    }

    /// Starts on the same port, with what it had stored.
    pub fn start_again(&mut self) {
        let folder = self.folder.path().display();
        let mut server = command("mariadbd");
        server
            .arg("--no-defaults")
            .args([format!("--datadir={folder}/data"), format!("--socket={folder}/socket")])
            .args([format!("--port={}", self.port), format!("--pid-file={folder}/pid")])
            .arg(format!("--tmpdir={folder}"))
            .args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"])
            .args(["--innodb-buffer-pool-size=32M", "--max-connections=50"])
            .args(&self.settings)
            .stdout(Stdio::null());
        self.process = Some(Process::start(&mut server, Stream::Stderr, "ready for connections"));
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(Process::has_ended)
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Writes a file that the server reads at its start into a folder.
    pub fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        user().give(&path);
        path
    }

    /// The path of its socket.
    pub fn socket(&self) -> String {
        self.folder.path().join("socket").display().to_string()
    }

    /// The address over TCP, for this user and database.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection of the administrator.
    pub async fn root(&self, database: Option<&str>) -> Conn {
        let options = OptsBuilder::default()
            .socket(Some(self.socket()))
            .prefer_socket(true)
            .user(Some("root"))
            .db_name(database);
        Conn::new(options).await.unwrap()
    }

    /// Runs statements as the administrator.
    pub async fn run(&self, statements: &[&str]) {
        let mut root = self.root(None).await;
        for statement in statements {
            root.query_drop(*statement).await.unwrap();
        }
        root.disconnect().await.unwrap();
    }
}

fn user() -> ServiceUser {
    ServiceUser::named("mysql")
}

fn command(program: &str) -> Command {
    let mut command = user().command(program);
    // Debian keeps the server in a folder for the superuser.
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}
