//! The programs of docs/inbox-programs.md, for the tests of the crates that read inboxes.

use std::process::Command;

use tempfile::TempDir;

use crate::succeed;

/// The document about inboxes.
pub const DOCUMENT: &str = include_str!("../../docs/inbox.md");
/// The document with the programs.
const PROGRAMS_DOCUMENT: &str = include_str!("../../docs/inbox-programs.md");

/// The app of the programs.
pub const APP: &str = "wx0123456789abcdef";

/// A program as it is written there.
#[derive(Debug)]
pub struct Program {
    /// Its language, as the document marks its block.
    pub language: &'static str,
    file: &'static str,
    command: &'static [&'static str],
}

/// All programs.
pub const PROGRAMS: [Program; 5] = [
    Program { language: "python", file: "pay.py", command: &["/usr/bin/python3"] },
    Program { language: "php", file: "pay.php", command: &["php"] },
    Program { language: "java", file: "Pay.java", command: &["java"] },
    Program { language: "go", file: "pay.go", command: &["go", "run"] },
    Program { language: "js", file: "pay.js", command: &["node"] },
];

/// The blocks of code in this language.
pub fn blocks(language: &str) -> impl Iterator<Item = &'static str> + use<> {
    let fence = format!("\n```{language}\n");
    let blocks: Vec<_> =
        PROGRAMS_DOCUMENT.split(&fence).skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect();
    blocks.into_iter()
}

impl Program {
    /// Runs the program that connects to this port of the document, and connects it to that of a server.
    pub fn run(&self, documented_port: &str, port: u16) {
        let Self { language, file, command } = self;
        let program = blocks(language).find(|block| block.contains(documented_port));
        let program = program.unwrap_or_else(|| panic!("no block in {language}"));
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join(file), program.replace(documented_port, &port.to_string()))
            .unwrap();
        succeed(
            Command::new(command[0])
                .args(&command[1..])
                .arg(file)
                .current_dir(folder.path())
                .env("CLASSPATH", "/usr/share/java/postgresql.jar:/usr/share/java/mariadb-java-client.jar")
                .env("GOPATH", "/usr/share/gocode")
                .env("GO111MODULE", "off")
                .env("GOCACHE", folder.path().join("go")),
        );
    }
}
