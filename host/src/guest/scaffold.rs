//! New plugin projects: the template, with the SDK and the contract beside it,
//! so that the project builds anywhere.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    Javascript,
    Python,
}

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../", $name)))),+]
    };
}

/// The SDK and the contract, by their paths in the repository.
const KIT: &[(&str, &str)] = embedded![
    "sdk/rust/src/lib.rs",
    "sdk/rust/src/ability.rs",
    "sdk/rust/src/after.rs",
    "sdk/rust/src/command.rs",
    "sdk/rust/src/exports.rs",
    "sdk/rust/src/exports/admin_rule.rs",
    "sdk/rust/src/exports/schedules.rs",
    "sdk/rust/src/exports/upgrade.rs",
    "sdk/rust/src/filter.rs",
    "sdk/rust/src/panic_text.rs",
    "sdk/rust/src/rule.rs",
    "sdk/rust/src/service.rs",
    "sdk/rust/src/strategy.rs",
    "sdk/rust/src/upgrade.rs",
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

const TEMPLATE: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        include_str!("../../../sdk/template/Cargo.toml.in"),
    ),
    (
        "README.md",
        include_str!("../../../sdk/template/README.md.in"),
    ),
    (
        "src/lib.rs",
        include_str!("../../../sdk/template/src/lib.rs.in"),
    ),
    (
        "fixtures/masks-the-word.json",
        include_str!("../../../sdk/template/fixtures/masks-the-word.json"),
    ),
    (".gitignore", "target\n"),
];

/// The SDK's manifest outside of this repository's workspace.
const KIT_MANIFEST: &str = "[package]\nname = \"kith-plugin\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
    [dependencies]\nserde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"\n\
    wit-bindgen = { version = \"=0.60.0\", default-features = false, features = [\"macros\", \"realloc\", \"std\"] }\n";

/// Makes the folder NAME with a content filter that builds and whose tests pass.
pub fn scaffold(folder: &Path, language: Language, hook: &str) -> Result<()> {
    if language != Language::Rust {
        bail!("this build makes Rust plugins only");
    }
    if hook != "content-filter" {
        bail!("the template has the hook content-filter; start from it and see the SDK for {hook}");
    }
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let well_formed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(well_formed)
    {
        bail!(
            "{name} is no plugin's name: a lower-case letter, then lower-case letters, digits and -"
        );
    }
    if folder.exists() {
        bail!("{} is there already", folder.display());
    }
    for (path, text) in TEMPLATE {
        write(&folder.join(path), &text.replace("{{name}}", name))?;
    }
    for (path, text) in KIT {
        write(&folder.join("kith").join(path), text)?;
    }
    write(&folder.join("kith/sdk/rust/Cargo.toml"), KIT_MANIFEST)
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
