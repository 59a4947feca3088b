//! Names of files and folders: the top level is fixed, and a name must say what is inside.
//! It looks at paths only.

use super::Finding;
use super::repository::Repository;

/// The visible top level; hidden files stand beside it.
const TOP: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "deploy",
    "host",
    "plugins",
    "sdk",
    "wit",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] = [
    "util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared",
];

pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &repository.files {
        let mut parts = file.path.split('/');
        let top = parts.next().unwrap_or_default();
        if !top.starts_with('.') && !TOP.contains(&top) {
            findings.push(Finding::new(
                &file.path,
                0,
                format!(
                    "`{top}` is not one of the top level's names: {}",
                    TOP.join(", ")
                ),
            ));
        }
        for part in file.path.split('/') {
            let stem = part.split('.').next().unwrap_or(part);
            let words: Vec<&str> = stem.split(['_', '-']).collect();
            let last = words.last().copied().unwrap_or_default();
            if EMPTY_NAMES.contains(&stem) || matches!(last, "manager" | "helpers" | "utils") {
                findings.push(Finding::new(
                    &file.path,
                    0,
                    format!("`{part}` does not say what is inside"),
                ));
            }
        }
        if file.path.ends_with("/mod.rs") {
            findings.push(Finding::new(
                &file.path,
                0,
                "a module is `name.rs` beside its folder `name/`",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::repository::File;
    use super::*;

    #[test]
    fn empty_names_and_strangers_at_the_top_are_found() {
        let findings = |path: &str| check(&Repository::of(vec![File::made_up(path, "")])).len();
        for path in [
            "host/src/util.rs",
            "host/src/common/a.rs",
            "host/src/session_manager.rs",
            "host/src/store/mod.rs",
            "docs/a.md",
            "kith.toml",
        ] {
            assert_eq!(findings(path), 1, "{path}");
        }
        for path in ["host/src/store.rs", ".ci/run", "host/src/utility_meter.rs"] {
            assert_eq!(findings(path), 0, "{path}");
        }
    }
}
