//! A component from JavaScript: a generated entry hands the plugin's class to the kit, and the pinned tool puts it all
//! into an engine. WASI is stubbed out, so the component imports what the manifest names and nothing else.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::kit::{Manifest, Said, camel};
use super::script::Stage;
use super::{Made, suffixed, tools};

const FILE: &str = "package.json";
const KIT: &str = "kith-plugin";

/// Makes the component of the plugin in a folder.
pub fn make(folder: &Path, version_suffix: Option<&str>, say: &dyn Fn(&str)) -> Result<Made> {
    let text = std::fs::read_to_string(folder.join(FILE))?;
    let package: Value =
        serde_json::from_str(&text).with_context(|| format!("{FILE} is not JSON"))?;
    let manifest = manifest(folder, &package)?;
    let version = suffixed(&manifest.version, version_suffix);
    let main = package["main"].as_str().unwrap_or("src/plugin.js");
    if !folder.join(main).is_file() {
        bail!("{FILE} says main is {main}, which is not there");
    }
    let stage = Stage::new()?;
    manifest.write_world(&stage.path().join("wit"))?;
    stage.copy_source(folder, "source")?;
    stage.copy_all(&manifest.kit, &format!("node_modules/{KIT}"))?;
    copy_packages(folder, &package, &stage)?;
    stage.write("package.json", "{\"type\": \"module\"}\n")?;
    stage.write("entry.js", &entry(&manifest, &version, main))?;
    let component = stage.component(tools::NPM_LOCK, || {
        let packages = tools::npm(say)?;
        say(&format!(
            "making a component of {} {version}",
            manifest.name
        ));
        componentize(&stage, &packages)
    })?;
    Ok(Made {
        component,
        name: manifest.name,
        version,
    })
}

fn manifest(folder: &Path, package: &Value) -> Result<Manifest> {
    let text = |key: &str| {
        let found = package[key].as_str().filter(|text| !text.is_empty());
        found
            .map(str::to_owned)
            .with_context(|| format!("{FILE} has no {key}"))
    };
    let kith = package
        .get("kith")
        .with_context(|| format!("{FILE} has no \"kith\", which names the hooks"))?;
    let said = Said {
        file: FILE,
        hooks: kith.get("hooks"),
        abilities: kith.get("abilities"),
    };
    let hooks = said.hooks()?;
    let kit = package["dependencies"][KIT]
        .as_str()
        .and_then(|place| place.strip_prefix("file:"))
        .with_context(|| {
            format!("{FILE} has no dependency \"{KIT}\": \"file:…\" on the kit's folder")
        })?;
    Ok(Manifest {
        name: text("name")?,
        version: text("version")?,
        summary: text("description")?,
        hooks,
        abilities: said.abilities()?,
        kit: folder.join(kit),
    })
}

/// The other packages the plugin depends on, as npm has installed them.
fn copy_packages(folder: &Path, package: &Value, stage: &Stage) -> Result<()> {
    let wanted = package["dependencies"].as_object();
    let others = wanted
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != KIT);
    if others.count() == 0 {
        return Ok(());
    }
    let installed = folder.join("node_modules");
    if !installed.is_dir() {
        bail!(
            "the packages {FILE} depends on are not there: run `npm install` in {}",
            folder.display()
        );
    }
    for item in installed.read_dir()? {
        let path = item?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != KIT && !name.starts_with('.') {
            stage.copy_all(&path, &format!("node_modules/{name}"))?;
        }
    }
    Ok(())
}

/// The module the tool is given.
fn entry(manifest: &Manifest, version: &str, main: &str) -> String {
    let mut text = format!(
        "//! Made by `kith plugin build`.\n\nimport Plugin from \"./source/{main}\";\n\
         import {{ component, seal }} from \"{KIT}/component\";\n"
    );
    let mut imports = Vec::new();
    for ability in &manifest.abilities {
        let local = format!("{}Host", camel(ability));
        text.push_str(&format!(
            "import {local} from \"kith:plugin/{ability}@1.0.0\";\n"
        ));
        imports.push(format!("\"{ability}\": {local}"));
    }
    let about = manifest.about(version, camel);
    text.push_str(&format!(
        "\nconst parts = component(Plugin, {about}, {{ {} }});\nseal();\n",
        imports.join(", ")
    ));
    for export in manifest.exports() {
        let name = camel(export);
        text.push_str(&format!("export const {name} = parts.{name};\n"));
    }
    text
}

fn componentize(stage: &Stage, packages: &Path) -> Result<Vec<u8>> {
    let out = stage.path().join("component.wasm");
    let mut tool = Command::new("node");
    tool.arg(packages.join("node_modules/componentize-qjs/bin/componentize-qjs"))
        .args(["--wit", "wit", "--world", "plugin", "--js", "entry.js"])
        .args(["--module-root", ".", "--sync", "--stub-wasi", "--output"])
        .arg(&out)
        .current_dir(stage.path());
    tools::run(&mut tool, "making the component")?;
    std::fs::read(&out).context("the tool left no component")
}
