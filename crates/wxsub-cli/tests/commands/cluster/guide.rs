//! The commands of docs/cluster.md.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// The ports in the document.
const PORTS: [&str; 5] = ["6390", "8459", "8471", "8472", "8473"];

/// The commands of its first section, after the installation.
fn commands() -> String {
    let text = include_str!("../../../../../docs/cluster.md");
    let chapter = text.split("## From nothing\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks = chapter.split("```bash\n").skip(2).map(|block| block.split("```").next().unwrap());
    blocks.collect()
}

/// The same commands with free ports.
fn on_free_ports(commands: String) -> String {
    let listeners = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    PORTS.iter().zip(&listeners).fold(commands, |commands, (port, listener)| {
        assert!(commands.contains(port));
        commands.replace(port, &listener.local_addr().unwrap().port().to_string())
    })
}

/// Runs them in a shell, in an empty folder, with the binary in the path. Returns the lines they print.
pub(super) fn pasted() -> Vec<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_wxsub")).parent().unwrap().to_str().unwrap();
    // All processes that it starts end with it.
    let script = format!(
        "PATH=\"{binary}:$PATH\"\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}",
        on_free_ports(commands())
    );
    let mut shell = Command::new("bash");
    let shell = shell.args(["-euc", &script]).current_dir(&folder).env("no_proxy", "*").output().unwrap();
    let (out, said) = (String::from_utf8(shell.stdout).unwrap(), String::from_utf8_lossy(&shell.stderr));
    assert!(shell.status.success(), "{out}{said}");
    out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
