//! What a new project is made from, inside this program: the kits, the contract, the templates. Each list names every
//! file of its folder; a test holds them against the repository.

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../", $name)))),+]
    };
}

type Files = &'static [(&'static str, &'static str)];

/// The contract, by its paths in the repository.
pub const CONTRACT: Files = embedded![
    "wit/v1/abilities-after.wit",
    "wit/v1/abilities.wit",
    "wit/v1/admin-rule.wit",
    "wit/v1/command.wit",
    "wit/v1/content-filter.wit",
    "wit/v1/events.wit",
    "wit/v1/kv-snapshot.wit",
    "wit/v1/lifecycle.wit",
    "wit/v1/message-strategy.wit",
    "wit/v1/schedules.wit",
    "wit/v1/services.wit",
    "wit/v1/types.wit",
    "wit/v1/upgrade.wit",
    "wit/v1/worlds-after.wit",
    "wit/v1/worlds.wit",
];

pub const RUST: Files = embedded![
    "sdk/rust/src/ability.rs",
    "sdk/rust/src/after.rs",
    "sdk/rust/src/command.rs",
    "sdk/rust/src/exports.rs",
    "sdk/rust/src/exports/admin_rule.rs",
    "sdk/rust/src/exports/schedules.rs",
    "sdk/rust/src/exports/upgrade.rs",
    "sdk/rust/src/filter.rs",
    "sdk/rust/src/lib.rs",
    "sdk/rust/src/panic_text.rs",
    "sdk/rust/src/rule.rs",
    "sdk/rust/src/service.rs",
    "sdk/rust/src/strategy.rs",
    "sdk/rust/src/upgrade.rs",
];

pub const JAVASCRIPT: Files = embedded![
    "sdk/js/README.md",
    "sdk/js/abilities.js",
    "sdk/js/answers.js",
    "sdk/js/component.js",
    "sdk/js/index.d.ts",
    "sdk/js/index.js",
    "sdk/js/package.json",
    "sdk/js/plugin.js",
    "sdk/js/testing.js",
    "sdk/js/text.js",
    "sdk/js/values.js",
];

pub const PYTHON: Files = embedded![
    "sdk/python/README.md",
    "sdk/python/kith_plugin/__init__.py",
    "sdk/python/kith_plugin/abilities.py",
    "sdk/python/kith_plugin/asked.py",
    "sdk/python/kith_plugin/component.py",
    "sdk/python/kith_plugin/plugin.py",
    "sdk/python/kith_plugin/py.typed",
    "sdk/python/kith_plugin/values.py",
    "sdk/python/pyproject.toml",
];

/// The templates, below `sdk/template/`.
pub const TEMPLATES: Files = embedded![
    "sdk/template/README.md.in",
    "sdk/template/fixtures/admin-rule/keeps-reserved-names.json",
    "sdk/template/fixtures/admin-rule/tells-of-reports.json",
    "sdk/template/fixtures/command/asks-for-a-name.json",
    "sdk/template/fixtures/command/greets-by-name.json",
    "sdk/template/fixtures/content-filter/masks-the-word.json",
    "sdk/template/fixtures/message-strategy/lets-the-rest-pass.json",
    "sdk/template/fixtures/message-strategy/refuses-what-is-too-long.json",
    "sdk/template/fixtures/observer/answers-who-asks.json",
    "sdk/template/fixtures/responder/repeats-what-it-is-told.json",
    "sdk/template/hooks.json",
    "sdk/template/javascript/admin-rule.in",
    "sdk/template/javascript/command.in",
    "sdk/template/javascript/content-filter.in",
    "sdk/template/javascript/message-strategy.in",
    "sdk/template/javascript/observer.in",
    "sdk/template/javascript/package.json.in",
    "sdk/template/javascript/plugin.js.in",
    "sdk/template/javascript/plugin.test.js.in",
    "sdk/template/javascript/responder.in",
    "sdk/template/python/admin-rule.in",
    "sdk/template/python/command.in",
    "sdk/template/python/content-filter.in",
    "sdk/template/python/message-strategy.in",
    "sdk/template/python/observer.in",
    "sdk/template/python/plugin.py.in",
    "sdk/template/python/pyproject.toml.in",
    "sdk/template/python/responder.in",
    "sdk/template/python/test_plugin.py.in",
    "sdk/template/rust/Cargo.toml.in",
    "sdk/template/rust/admin-rule.in",
    "sdk/template/rust/command.in",
    "sdk/template/rust/content-filter.in",
    "sdk/template/rust/lib.rs.in",
    "sdk/template/rust/message-strategy.in",
    "sdk/template/rust/observer.in",
    "sdk/template/rust/responder.in",
];

/// The Rust kit's manifest outside of this repository's workspace.
pub const RUST_MANIFEST: &str = "[package]\nname = \"kith-plugin\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
    [dependencies]\nserde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"\n\
    wit-bindgen = { version = \"=0.60.0\", default-features = false, features = [\"macros\", \"realloc\", \"std\"] }\n";

/// A template's text, by its path below `sdk/template/`.
pub fn template(path: &str) -> &'static str {
    let found = TEMPLATES
        .iter()
        .find(|(name, _)| name.strip_prefix("sdk/template/") == Some(path));
    found.map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn listed(folder: &Path, top: &Path, files: &mut Vec<String>) {
        for item in folder.read_dir().expect("a folder of the repository") {
            let path = item.expect("it can be listed").path();
            let name = path.strip_prefix(top).expect("below the top");
            let name = name.to_string_lossy().into_owned();
            if name.contains("__pycache__") || name.contains("node_modules") {
                continue;
            }
            match path.is_dir() {
                true => listed(&path, top, files),
                false => files.push(name),
            }
        }
    }

    #[test]
    fn a_new_project_gets_every_file_of_its_kit() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the repository");
        for (folder, files, others) in [
            ("wit/v1", CONTRACT, &[][..]),
            ("sdk/rust/src", RUST, &[]),
            ("sdk/js", JAVASCRIPT, &["sdk/js/test/", "sdk/js/tools/"]),
            (
                "sdk/python",
                PYTHON,
                &["sdk/python/tests/", "sdk/python/tools/"],
            ),
            ("sdk/template", TEMPLATES, &[]),
        ] {
            let mut there = Vec::new();
            listed(&top.join(folder), top, &mut there);
            there.retain(|name| !others.iter().any(|other| name.starts_with(other)));
            there.sort();
            let mut named: Vec<_> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
            named.sort();
            assert_eq!(named, there, "{folder}");
        }
    }
}
