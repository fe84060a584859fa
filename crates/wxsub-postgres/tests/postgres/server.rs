//! A private PostgreSQL on a free port with a folder of its own. The process ends with its value.

#![allow(dead_code, reason = "several programs have this module, and each uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::free_port::free_port;

pub(crate) struct Postgres {
    pub(crate) port: u16,
    folder: TempDir,
    settings: Vec<String>,
    child: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
}

/// The password of the superuser `postgres`. It is needed over TCP only.
pub(crate) const PASSWORD: &str = "sesame";

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these settings, such as `work_mem=1MB`.
    pub(crate) fn with(settings: &[&str]) -> Self {
        // In memory where there is such a folder: no test cuts the power.
        Self::in_folder(TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap(), settings)
    }

    /// With its data in this folder.
    pub(crate) fn in_folder(folder: TempDir, settings: &[&str]) -> Self {
        give_to_postgres(folder.path());
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let made = as_postgres("initdb")
            .args(["--no-sync", "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"])
            .args(["--encoding=UTF8", "--locale=C"])
            .arg("--pwfile")
            .arg(folder.path().join("password"))
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut postgres = Self { port: free_port(), folder, settings, child: None, log: Arc::default() };
        postgres.start_again();
        postgres
    }

    /// A replica of this one, which follows it until it is promoted.
    pub(crate) fn replica(&self) -> Self {
        let mut replica = self.base_backup(&["--write-recovery-conf"]);
        replica.start_again();
        replica
    }

    /// A copy of its files, which is not started.
    pub(crate) fn base_backup(&self, options: &[&str]) -> Self {
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        give_to_postgres(folder.path());
        let copied = as_postgres("pg_basebackup")
            .args(["--no-sync", "--checkpoint=fast", "--username=postgres"])
            .args(options)
            .arg("--host")
            .arg(self.folder.path())
            .args(["--port", &self.port.to_string()])
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        Self { port: free_port(), folder, settings: self.settings.clone(), child: None, log: Arc::default() }
    }

    /// Runs a program of PostgreSQL against this server, such as `pg_dump`.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        let host = self.folder.path().display().to_string();
        let ended = as_postgres(program)
            .args(["--username=postgres", "--host", &host, "--port", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Starts on the same port, with what it had stored.
    pub(crate) fn start_again(&mut self) {
        let mut child = as_postgres("postgres")
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-F"])
            .args([
                "-c",
                "max_connections=600",
                "-c",
                "log_min_messages=warning",
                "-c",
                "log_line_prefix=%p ",
            ])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| {
            log.push(line.clone());
            // A replica says "read-only connections".
            line.contains("ready to accept")
        });
        assert!(ready, "postgres did not start: {log:#?}");
        // It must not wait until its log is read.
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        });
        self.child = Some(child);
    }

    /// The folder of its unix socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file for the user `postgres` in its folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        give_to_postgres(&path);
        path
    }

    /// The address of its unix socket, for this user.
    pub(crate) fn url_as(&self, user: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{user}@{folder}:{}/postgres", self.port)
    }

    /// The address of both servers.
    pub(crate) fn url_with(&self, other: &Self) -> String {
        let host = |server: &Self| {
            let folder = server.folder.path().display().to_string().replace('/', "%2F");
            format!("{folder}:{}", server.port)
        };
        format!("postgres://postgres@{},{}/postgres", host(self), host(other))
    }

    /// For another database.
    pub(crate) fn url_of(&self, database: &str) -> String {
        let url = self.url();
        format!("{}/{database}", url.strip_suffix("/postgres").unwrap())
    }

    pub(crate) fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// For the tables in a schema.
    pub(crate) fn url_in_schema(&self, schema: &str) -> String {
        format!("{}?options=-csearch_path%3D{schema}", self.url())
    }

    /// A connection for statements of the test.
    pub(crate) async fn sql(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Sets this at the next start.
    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal: `-QUIT` ends all of its processes at once, without a checkpoint.
    pub(crate) fn signal(pid: u32, signal: &str) {
        let done = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// What the server has logged until now.
    pub(crate) async fn log(&self) -> Vec<String> {
        // An error that it logs last.
        let marker = format!("marker{}", self.log.lock().unwrap().len());
        assert!(self.sql().await.batch_execute(&format!("SELECT {marker}")).await.is_err());
        loop {
            let log = self.log.lock().unwrap().clone();
            if log.iter().any(|line| line.contains(&marker)) {
                return log;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends all of its processes at once, without a checkpoint.
    pub(crate) fn stop_immediately(&mut self) {
        self.stop("-QUIT");
    }

    fn stop(&mut self, signal: &str) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").args([signal, &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop("-QUIT");
    }
}

/// The user `postgres`, if the tests run as the superuser: PostgreSQL does not.
fn postgres_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| (id(&["-u", "postgres"]).unwrap(), id(&["-g", "postgres"]).unwrap()))
}

fn as_postgres(program: &str) -> Command {
    as_postgres_user(Command::new(binary(program)))
}

/// The command runs as the user `postgres`.
pub(crate) fn as_postgres_user(mut command: Command) -> Command {
    if let Some((user, group)) = postgres_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

fn give_to_postgres(path: &Path) {
    if let Some((user, group)) = postgres_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Debian keeps the programs of the server out of the path.
fn binary(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin").join(program)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(program))
}
