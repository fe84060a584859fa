//! nginx in front of the console.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use tempfile::TempDir;
use wxsub_test_support::{Process, Stream, free_port, wait_for};

/// A running nginx. Dropping it ends it.
pub(super) struct Proxy {
    _process: Process,
    pub(super) port: u16,
    _folder: TempDir,
}

impl Proxy {
    /// Starts it. It serves `upstream` at this path, which it keeps or removes.
    pub(super) fn start(upstream: SocketAddr, path: &str, keeps_path: bool) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let target = if keeps_path { "" } else { "/" };
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};"));
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\n\
             http {{ access_log off; {}\nserver {{ listen 127.0.0.1:{port};\n\
             location {path}/ {{ proxy_pass http://{upstream}{target}; proxy_set_header Host $http_host;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}",
            temporary.join(" ")
        );
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        let command = command.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
        let process = Process::spawn(command, Stream::Stderr);
        wait_for("nginx", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _process: process, port, _folder: folder }
    }
}
