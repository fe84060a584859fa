//! Every manifest inherits from the workspace.

use cargo_metadata::MetadataCommand;

use super::tree::{files, top};

/// Every manifest except those of workspaces of their own: the fuzz targets, because cargo-fuzz needs one, and the programs with
/// other drivers, because one of these links a library of the system.
fn manifests() -> impl Iterator<Item = (String, String)> {
    files("Cargo.toml")
        .into_iter()
        .filter(|(name, _)| !name.contains("/fuzz/") && !name.contains("/drivers/"))
}

#[test]
fn manifests_inherit_from_the_workspace() {
    for (name, text) in manifests() {
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(text.contains(&format!("\n{key}.workspace = true\n")), "{name} does not inherit {key}");
        }
        assert!(text.contains("\n[lints]\nworkspace = true\n"), "{name} does not inherit the lints");
        assert!(text.contains("\ndescription = \""), "{name} has no description");
    }
}

#[test]
fn only_the_workspace_table_has_versions() {
    for (name, text) in manifests() {
        let mut in_dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && line.contains('=') && !line.starts_with('#') {
                let inherits = line.contains("workspace = true") || line.contains("path = \".\"");
                assert!(inherits, "{name}: {line}");
            }
        }
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let text = std::fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let table = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    for line in table.lines().filter(|line| line.contains('=') && !line.contains("path = ")) {
        assert!(line.contains(" # "), "a dependency without a reason: {line}");
    }
}

/// cargo-deb reads these files only when it builds the package.
#[test]
fn files_of_the_debian_package_exist() {
    let manifest = top().join("crates/wxsub-cli/Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(&manifest)
        .no_deps()
        .other_options(["--offline".into()])
        .exec()
        .unwrap();
    let package = metadata.packages.iter().find(|package| package.name == "wxsub-cli").unwrap();
    let deb = &package.metadata["deb"];
    let sources = deb["assets"].as_array().unwrap().iter().map(|asset| asset[0].as_str().unwrap());
    let folders = [&deb["maintainer-scripts"], &deb["systemd-units"]["unit-scripts"]];
    let folders = folders.map(|folder| folder.as_str().unwrap());
    // The build makes the files under target.
    let kept: Vec<_> = sources.filter(|source| !source.starts_with("target/")).chain(folders).collect();
    assert!(kept.len() > 5, "{kept:?}");
    for source in kept {
        let path = manifest.parent().unwrap().join(source);
        let exists = match source.rsplit_once("/*") {
            Some((_, ending)) => std::fs::read_dir(path.parent().unwrap())
                .unwrap()
                .any(|entry| entry.unwrap().path().to_str().unwrap().ends_with(ending)),
            None => path.exists(),
        };
        assert!(exists, "the package has no {source}");
    }
}
