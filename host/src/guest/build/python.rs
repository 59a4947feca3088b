//! A component from Python: a generated entry hands the plugin's class to the kit, and the pinned tool puts it all into
//! an interpreter. WASI is stubbed out, so the component imports what the manifest names and nothing else.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::kit::{Manifest, Said};
use super::script::Stage;
use super::{Made, suffixed, tools};

const FILE: &str = "pyproject.toml";
/// The entry's module; the generated bindings have the world's name, `wit_world`.
const ENTRY: &str = "kith_entry";
/// Hashes alike in every build, which Python otherwise draws anew.
const HASH_SEED: &str = "0";

/// Makes the component of the plugin in a folder.
pub fn make(folder: &Path, version_suffix: Option<&str>, say: &dyn Fn(&str)) -> Result<Made> {
    let text = std::fs::read_to_string(folder.join(FILE))?;
    let project: toml::Value =
        toml::from_str(&text).with_context(|| format!("{FILE} is not TOML"))?;
    let project = serde_json::to_value(project)?;
    let manifest = manifest(folder, &project)?;
    let version = suffixed(&manifest.version, version_suffix);
    let plugin = project["tool"]["kith"]["plugin"].as_str();
    let Some((module, class)) = plugin.and_then(|plugin| plugin.split_once(':')) else {
        bail!("{FILE} has no tool.kith.plugin = \"MODULE:CLASS\"");
    };
    let stage = Stage::new()?;
    manifest.write_world(&stage.path().join("wit"))?;
    let source = folder.join("src");
    stage.copy_source(if source.is_dir() { &source } else { folder }, "source")?;
    stage.copy_all(&manifest.kit.join("kith_plugin"), "kit/kith_plugin")?;
    stage.write(
        &format!("{ENTRY}.py"),
        &entry(&manifest, &version, module, class),
    )?;
    let component = stage.component(tools::PIP_LOCK, || {
        let (python, packages) = tools::pip(say)?;
        say(&format!(
            "making a component of {} {version} (about 15 s)",
            manifest.name
        ));
        componentize(&stage, python, &packages)
    })?;
    Ok(Made {
        component,
        name: manifest.name,
        version,
    })
}

fn manifest(folder: &Path, project: &Value) -> Result<Manifest> {
    let text = |key: &str| {
        let found = project["project"][key].as_str();
        found
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .with_context(|| format!("{FILE} has no project.{key}"))
    };
    let kith = &project["tool"]["kith"];
    let said = Said {
        file: FILE,
        hooks: kith.get("hooks"),
        abilities: kith.get("abilities"),
    };
    let hooks = said.hooks()?;
    let kit = kith["kit"]
        .as_str()
        .with_context(|| format!("{FILE} has no tool.kith.kit, the kit's folder"))?;
    let kit = folder.join(kit);
    if !kit.join("kith_plugin").is_dir() {
        bail!("{FILE}: there is no kith_plugin in {}", kit.display());
    }
    if let Some(others) = project["project"]["dependencies"].as_array()
        && !others.is_empty()
    {
        bail!(
            "{FILE} has dependencies, which do not come along: put what is pure Python into src/, \
             such as with `pip install --target src PACKAGE`"
        );
    }
    Ok(Manifest {
        name: text("name")?,
        version: text("version")?,
        summary: text("description")?,
        hooks,
        abilities: said.abilities()?,
        kit,
    })
}

/// The module the tool is given.
fn entry(manifest: &Manifest, version: &str, module: &str, class: &str) -> String {
    let mut text = format!(
        "\"\"\"Made by `kith plugin build`.\"\"\"\n\nimport json\n\n\
         from kith_plugin.component import component, seal\nfrom {module} import {class} as plugin\n"
    );
    let mut imports = Vec::new();
    for ability in &manifest.abilities {
        let name = ability.replace('-', "_");
        text.push_str(&format!(
            "from wit_world.imports import {name} as host_{name}\n"
        ));
        imports.push(format!("\"{ability}\": host_{name}"));
    }
    // JSON in JSON: its escapes are Python's.
    let about = manifest.about(version, str::to_owned).to_string();
    text.push_str(&format!(
        "\nglobals().update(component(plugin, json.loads({}), {{{}}}))\nseal()\n",
        Value::String(about),
        imports.join(", ")
    ));
    text
}

fn componentize(stage: &Stage, python: &str, packages: &Path) -> Result<Vec<u8>> {
    let out = stage.path().join("component.wasm");
    let run = "import sys; from componentize_py import script; sys.exit(script())";
    let mut tool = Command::new(python);
    tool.args(["-c", run])
        .args(["--wit-path", "wit", "--world", "plugin", "componentize"])
        .args(["--stub-wasi", ENTRY, "--python-path", "."])
        .args([
            "--python-path",
            "source",
            "--python-path",
            "kit",
            "--output",
        ])
        .arg(&out)
        .current_dir(stage.path())
        .env("PYTHONPATH", packages)
        .env("PYTHONHASHSEED", HASH_SEED)
        // Else the tool looks into whatever else is installed here.
        .env("VIRTUAL_ENV", stage.path().join("none"));
    tools::run_telling(&mut tool, "making the component", authors)?;
    std::fs::read(&out).context("the tool left no component")
}

/// What the author can do something about, of what the tool prints: not the tool's own frames above and below it.
fn authors(told: &str) -> String {
    let lines = told.lines();
    // The tool looks there on purpose in vain.
    let lines: Vec<&str> = lines
        .filter(|line| !line.starts_with("warning: site-packages"))
        .collect();
    let begins = |words: &str| lines.iter().position(|line| line.starts_with(words));
    let stack = begins("Stack backtrace:").unwrap_or(lines.len());
    let cause = begins("Caused by:").unwrap_or(stack).min(stack);
    let (error, causes) = (lines[..cause].join("\n"), &lines[cause..stack]);
    let own = "File \"<string>\", line 1, in <module>\nAssertionError: ";
    let said = error.split_once(own).map_or(&*error, |(_, said)| said);
    // The causes say again what Python has said, or are frames; else they are what there is to say.
    let said_it = said.contains("Error: ");
    if said_it || causes.iter().any(|line| line.contains("wasm backtrace")) {
        return said.to_owned();
    }
    format!("{said}\n{}", causes.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "warning: site-packages directory not found under /x\n\
        Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\nAssertionError: ";

    #[test]
    fn a_failed_build_is_told_in_the_authors_words() {
        let python = "Traceback (most recent call last):\n  File \"/1/lost.py\", line 1, in <module>\n    \
            import nowhere\nModuleNotFoundError: No module named 'nowhere'";
        let cause = "Caused by:\n    ModuleNotFoundError: No module named 'nowhere'";
        let stack = "Stack backtrace:\n   0: <anyhow::Error>::msg\n   1: _start";
        let told = format!("{BEFORE}{python}\n\n\n{cause}\n\n{stack}\n");
        assert_eq!(authors(&told).trim(), python);
        let refused = "lost: the class is a ContentFilter";
        let frames =
            "Caused by:\n    0: error while executing at wasm backtrace:\n           0: exit";
        let told = format!("{BEFORE}{refused}\n\n\n{frames}\n");
        assert_eq!(authors(&told).trim(), refused);
    }

    #[test]
    fn a_cause_that_says_more_stays() {
        let told = format!(
            "{BEFORE}no world\n\nCaused by:\n    no such file\n\nStack backtrace:\n   0: x\n"
        );
        assert_eq!(
            authors(&told).trim(),
            "no world\n\nCaused by:\n    no such file"
        );
    }
}
