//! Dependencies: each listed once in the workspace with its features, each used by whoever asks for it, all from the one
//! registry and under licences agreed to in `host/lint/deny.toml`. It asks cargo what is resolved, offline.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use spdx::{Expression, LicenseReq, Licensee, ParseMode};

use super::Finding;
use super::repository::Repository;
use super::rust;

const AGREED: &str = "host/lint/deny.toml";
const WORKSPACE: &str = "Cargo.toml";

/// Tables of a manifest that name dependencies.
const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Every manifest takes its dependencies from the workspace's list and names what it takes in its code.
pub fn check_manifests(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let workspace = parsed(repository, WORKSPACE);
    let listed = table(&workspace["workspace"], "dependencies");
    let mut taken = BTreeSet::new();
    for file in repository.ending("/Cargo.toml") {
        let folder = file.path.trim_end_matches("Cargo.toml");
        // A template is filled in by `kith plugin new`, a guest of tests is built for another target: both stand outside
        // the workspace.
        if [
            "sdk/template",
            "host/runtime/tests/guests/",
            "host/tests/guests/",
        ]
        .iter()
        .any(|outside| folder.starts_with(outside))
            || folder.contains("/template/")
        {
            continue;
        }
        let manifest = parsed(repository, &file.path);
        for (name, entry) in dependencies(&manifest) {
            taken.insert(name.clone());
            let line = line_with(&file.text, &name);
            if entry.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                let text = format!("{name} is not taken from [workspace.dependencies]");
                findings.push(Finding::new(&file.path, line, text));
            }
            if !names(repository, folder, &name.replace('-', "_")) {
                let text = format!("{name} is asked for and never named in {folder}");
                findings.push(Finding::new(&file.path, line, text));
            }
        }
    }
    for name in listed.keys().filter(|name| !taken.contains(*name)) {
        let line = line_with(&repository.file(WORKSPACE).text, name);
        let text = format!("{name} is listed and nobody asks for it");
        findings.push(Finding::new(WORKSPACE, line, text));
    }
    findings
}

fn parsed(repository: &Repository, path: &str) -> toml::Value {
    toml::from_str(&repository.file(path).text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn table(of: &toml::Value, name: &str) -> toml::Table {
    of.get(name)
        .and_then(toml::Value::as_table)
        .cloned()
        .unwrap_or_default()
}

/// Names and entries in all tables of a manifest, those for one target too.
fn dependencies(manifest: &toml::Value) -> Vec<(String, toml::Value)> {
    let targets = table(manifest, "target");
    std::iter::once(manifest)
        .chain(targets.values())
        .flat_map(|of| TABLES.iter().flat_map(|name| table(of, name)))
        .collect()
}

fn names(repository: &Repository, folder: &str, word: &str) -> bool {
    repository
        .rust()
        .filter(|file| file.path.starts_with(folder))
        .any(|file| {
            // Searched before it is parsed: parsing everything for every dependency takes seconds.
            file.text.contains(word) && rust::words(&rust::code(&file.text), word).next().is_some()
        })
}

fn line_with(text: &str, key: &str) -> usize {
    text.lines()
        .position(|line| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
        })
        .map_or(0, |index| index + 1)
}

#[derive(Deserialize)]
struct Agreed {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    /// Those who may need it all the same.
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct Resolved {
    packages: Vec<Package>,
    resolve: Graph,
}

#[derive(Deserialize)]
struct Graph {
    nodes: Vec<Node>,
}

/// A package and what it needs, by their ids.
#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Resolved {
    /// The names of those who need a package directly.
    fn needed_by(&self, package: &Package) -> Vec<&str> {
        let needs = |node: &&Node| node.dependencies.contains(&package.id);
        let users = self.resolve.nodes.iter().filter(needs);
        users
            .filter_map(|node| self.packages.iter().find(|other| other.id == node.id))
            .map(|other| other.name.as_str())
            .collect()
    }
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for a package of this repository.
    source: Option<String>,
}

/// Every package that is built into anything here, on this platform.
pub fn check_packages(repository: &Repository) -> Vec<Finding> {
    let agreed: Agreed = toml::from_str(&repository.file(AGREED).text)
        .unwrap_or_else(|error| panic!("{AGREED}: {error}"));
    let resolved = resolved(&repository.top);
    resolved
        .packages
        .iter()
        .filter_map(|package| problem(package, &agreed, || resolved.needed_by(package)))
        .map(|text| Finding::new("Cargo.lock", 0, text))
        .collect()
}

fn resolved(top: &Path) -> Resolved {
    let version = run(Command::new("rustc").arg("-vV"));
    let platform = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host")
        .to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = run(Command::new(cargo)
        .current_dir(top)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &platform]));
    serde_json::from_str(&text).expect("cargo metadata prints JSON")
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

fn problem<'a>(
    package: &Package,
    agreed: &Agreed,
    needed_by: impl Fn() -> Vec<&'a str>,
) -> Option<String> {
    let about = format!("{} {}", package.name, package.version);
    let excused = |ban: &Ban| {
        let excused = |user: &&str| ban.wrappers.iter().any(|wrapper| wrapper == user);
        !ban.wrappers.is_empty() && needed_by().iter().all(excused)
    };
    let ban = agreed.bans.deny.iter().find(|ban| ban.name == package.name);
    if let Some(ban) = ban.filter(|ban| !excused(ban)) {
        return Some(format!("{about} is banned: {}", ban.reason));
    }
    let source = package.source.as_ref()?;
    if !source.starts_with("registry+") {
        return Some(format!("{about} comes from {source}, not from a registry"));
    }
    let Some(licence) = &package.license else {
        return Some(format!("{about} names no licence"));
    };
    match Expression::parse_mode(licence, ParseMode::LAX) {
        Err(error) => Some(format!(
            "{about}: the licence `{licence}` cannot be read: {error}"
        )),
        Ok(expression) => (!expression.evaluate(|asked| is_agreed(asked, agreed)))
            .then(|| format!("{about}: the licence `{licence}` is not agreed to in {AGREED}")),
    }
}

fn is_agreed(asked: &LicenseReq, agreed: &Agreed) -> bool {
    agreed.licenses.allow.iter().any(|name| {
        Licensee::parse(name)
            .unwrap_or_else(|error| panic!("{AGREED}: {name}: {error}"))
            .satisfies(asked)
    })
}

#[cfg(test)]
mod tests {
    use super::super::repository::File;
    use super::*;

    #[test]
    fn manifests_that_go_their_own_way_are_found() {
        let repository = Repository::of(vec![
            File::made_up(
                "Cargo.toml",
                "[workspace.dependencies]\nbytes = \"1\"\nspare = \"1\"\nserde-x = \"1\"\n",
            ),
            File::made_up(
                "a/Cargo.toml",
                "[dependencies]\nbytes = \"1\"\nserde-x.workspace = true\n\
                 [target.x.dev-dependencies]\nunused = { workspace = true }\n",
            ),
            File::made_up(
                "a/src/lib.rs",
                "use bytes::Bytes; // unused\nuse serde_x::A;",
            ),
        ]);
        let found: Vec<String> = check_manifests(&repository)
            .iter()
            .map(Finding::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "a/Cargo.toml:2: bytes is not taken from [workspace.dependencies]",
                "a/Cargo.toml:5: unused is asked for and never named in a/",
                "Cargo.toml:3: spare is listed and nobody asks for it",
            ]
        );
    }

    #[test]
    fn packages_outside_the_agreement_are_found() {
        let agreed: Agreed = toml::from_str(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0 WITH LLVM-exception\"]\n\
             [bans]\ndeny = [{ crate = \"bad\", reason = \"it is\", wrappers = [\"mock\"] }]\n",
        )
        .expect("it is well formed");
        let found_by = |users: &[&'static str], name: &str, license: &str, source: &str| {
            let package = Package {
                id: String::new(),
                name: name.to_owned(),
                version: "1.0.0".to_owned(),
                license: Some(license.to_owned()),
                source: Some(source.to_owned()),
            };
            problem(&package, &agreed, || users.to_vec()).is_some()
        };
        let found =
            |name: &str, license: &str, source: &str| found_by(&["app"], name, license, source);
        for licence in [
            "MIT",
            "GPL-3.0-only OR MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(!found("a", licence, "registry+x"), "{licence}");
        }
        for licence in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "Apache-2.0",
            "no licence",
        ] {
            assert!(found("a", licence, "registry+x"), "{licence}");
        }
        assert!(found("a", "MIT", "git+https://example.org"));
        assert!(found("bad", "MIT", "registry+x"));
        assert!(!found_by(&["mock"], "bad", "MIT", "registry+x"));
        assert!(found_by(&["mock", "app"], "bad", "MIT", "registry+x"));
    }
}
