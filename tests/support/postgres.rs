//! A private PostgreSQL on a free port with a folder of its own. The process ends with its value.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::service_user::ServiceUser;
use crate::{Process, Stream, free_port, memory_folder, succeed};

/// A running `postgres`.
#[derive(Debug)]
pub struct Postgres {
    /// Its port.
    pub port: u16,
    folder: TempDir,
    settings: Vec<String>,
    process: Option<Process>,
}

/// The password of the superuser `postgres`. It is needed over TCP only.
pub const PASSWORD: &str = "sesame";

impl Postgres {
    /// With default settings, and its data in memory.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these settings, such as `work_mem=1MB`.
    pub fn with(settings: &[&str]) -> Self {
        Self::in_folder(memory_folder(), settings)
    }

    /// With its data in this folder.
    pub fn in_folder(folder: TempDir, settings: &[&str]) -> Self {
        user().give(folder.path());
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        succeed(
            command("initdb")
                .args(["--no-sync", "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"])
                .args(["--encoding=UTF8", "--locale=C"])
                .arg("--pwfile")
                .arg(folder.path().join("password"))
                .arg("--pgdata")
                .arg(folder.path().join("data")),
        );
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut postgres = Self { port: free_port(), folder, settings, process: None };
        postgres.start_again();
        postgres
    }

    /// A replica of this one, which follows it until it is promoted.
    pub fn replica(&self) -> Self {
        let mut replica = self.base_backup(&["--write-recovery-conf"]);
        replica.start_again();
        replica
    }

    /// A copy of its files, which is not started.
    pub fn base_backup(&self, options: &[&str]) -> Self {
        let folder = memory_folder();
        user().give(folder.path());
        let data = folder.path().join("data").display().to_string();
        let always = ["--no-sync", "--checkpoint=fast", "--pgdata", &data];
        self.run("pg_basebackup", &[&always, options].concat());
        Self { port: free_port(), folder, settings: self.settings.clone(), process: None }
    }

    /// Runs a program of PostgreSQL against this server, such as `pg_dump`.
    pub fn run(&self, program: &str, arguments: &[&str]) {
        let (host, port) = (self.folder.path().display().to_string(), self.port.to_string());
        let server = ["--username=postgres", "--host", &host, "--port", &port];
        succeed(command(program).args(server).args(arguments));
    }

    /// Starts on the same port, with what it had stored.
    pub fn start_again(&mut self) {
        let mut server = command("postgres");
        server
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-F"])
            .args(["-c", "max_connections=600", "-c", "log_min_messages=warning"])
            .args(["-c", "log_line_prefix=%p "])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null());
        // A replica says "read-only connections".
        self.process = Some(Process::start(&mut server, Stream::Stderr, "ready to accept"));
    }

    /// The folder of its unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file for the user `postgres` in its folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        user().give(&path);
        path
    }

    /// The address of its unix socket, for this user.
    pub fn url_as(&self, user: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{user}@{folder}:{}/postgres", self.port)
    }

    /// The address of both servers.
    pub fn url_with(&self, other: &Self) -> String {
        let host = |server: &Self| {
            let folder = server.folder.path().display().to_string().replace('/', "%2F");
            format!("{folder}:{}", server.port)
        };
        format!("postgres://postgres@{},{}/postgres", host(self), host(other))
    }

    /// For another database.
    pub fn url_of(&self, database: &str) -> String {
        let url = self.url();
        format!("{}/{database}", url.strip_suffix("/postgres").unwrap())
    }

    /// The address of its unix socket, for the superuser.
    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// For the tables in a schema.
    pub fn url_in_schema(&self, schema: &str) -> String {
        format!("{}?options=-csearch_path%3D{schema}", self.url())
    }

    /// A connection for statements of the test.
    pub async fn sql(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Sets this at the next start.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// The id of its first process.
    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// What the server has logged since its start.
    pub async fn log(&self) -> Vec<String> {
        let lines = &self.process().lines;
        // An error that it logs last.
        let marker = format!("marker{}", lines.all().len());
        assert!(self.sql().await.batch_execute(&format!("SELECT {marker}")).await.is_err());
        lines.wait_for(&marker);
        lines.all()
    }

    /// Ends all of its processes at once, without a checkpoint.
    pub fn stop_immediately(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop("QUIT");
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop_immediately();
    }
}

fn user() -> ServiceUser {
    ServiceUser::named("postgres")
}

/// A program of PostgreSQL, which runs as the user of the server.
pub fn command(program: &str) -> Command {
    user().command(binary(program))
}

/// Debian keeps the programs of the server out of the path.
fn binary(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin").join(program)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(program))
}
