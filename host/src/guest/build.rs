//! From a crate to a component: cargo for the guest target,
//! then the component encoder, then a look at the result.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use kith_runtime::{Inspection, Runtime, Settings};
use serde_json::Value;

use super::toolchain::{self, TARGET};

/// A component that was built and looked at.
#[derive(Debug)]
pub struct Built {
    pub file: PathBuf,
    pub inspection: Inspection,
}

/// Builds the plugin in a folder. `out` is the file to write (default: DIR/target/NAME-VERSION.wasm); a version
/// suffix makes X.Y.Z into X.Y.Z-SUFFIX. `say` is told each step.
pub fn build(
    folder: &Path,
    out: Option<&Path>,
    version_suffix: Option<&str>,
    say: &dyn Fn(&str),
) -> Result<Built> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        bail!(
            "{} has no Cargo.toml: is it a plugin's folder?",
            folder.display()
        );
    }
    let package = package(&manifest)?;
    let guest_target = package.target_folder.join("guest");
    let toolchain = toolchain::ready(&guest_target, say)?;
    say(&format!("compiling {} {}", package.name, package.version));
    compile(&manifest, &guest_target, version_suffix, &toolchain)?;
    let core = guest_target
        .join(TARGET)
        .join("release")
        .join(format!("{}.wasm", package.name.replace('-', "_")));
    let core = std::fs::read(&core).with_context(|| {
        format!(
            "{} was not built: does Cargo.toml say crate-type = [\"cdylib\"]?",
            core.display()
        )
    })?;
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| anyhow!("the module is no component of the contract: {error:#}"))?;

    let version = match version_suffix {
        Some(suffix) => format!("{}-{suffix}", package.version),
        None => package.version.clone(),
    };
    let default = folder
        .join("target")
        .join(format!("{}-{version}.wasm", package.name));
    let file = out.map_or(default, Path::to_path_buf);
    let inspection = inspect(&component)?;
    if (inspection.name.as_str(), inspection.version.as_str())
        != (package.name.as_str(), version.as_str())
    {
        bail!(
            "describe says {} {}, the manifest {} {version}",
            inspection.name,
            inspection.version,
            package.name
        );
    }
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&file, &component)
        .with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!(
        "{} bytes, hooks: {}",
        component.len(),
        hooks(&inspection)
    ));
    Ok(Built { file, inspection })
}

/// The hooks of a component, for people.
pub fn hooks(inspection: &Inspection) -> String {
    inspection
        .hooks
        .iter()
        .map(|hook| hook.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Looks at a component as the server would.
pub fn inspect(component: &[u8]) -> Result<Inspection> {
    let cache = tempfile::tempdir()?;
    let runtime = Runtime::new(Settings::new(cache.path()))?;
    Ok(runtime.inspect(component)?)
}

struct Package {
    name: String,
    version: String,
    target_folder: PathBuf,
}

fn package(manifest: &Path) -> Result<Package> {
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .context("cargo is missing: get the stable tool chain with rustup")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let wanted = manifest.canonicalize()?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let own = packages
        .find(|package| {
            package["manifest_path"]
                .as_str()
                .is_some_and(|path| Path::new(path) == wanted)
        })
        .with_context(|| format!("cargo does not know {}", manifest.display()))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Package {
        name: text(&own["name"]),
        version: text(&own["version"]),
        target_folder: PathBuf::from(text(&metadata["target_directory"])),
    })
}

fn compile(
    manifest: &Path,
    guest_target: &Path,
    version_suffix: Option<&str>,
    toolchain: &toolchain::Toolchain,
) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--release",
            "--quiet",
            "--lib",
            "--target",
            TARGET,
            "--manifest-path",
        ])
        .arg(manifest);
    // Guests have a target folder and a profile of their own: small, and nothing that unwinds.
    cargo.env("CARGO_TARGET_DIR", guest_target);
    cargo.env(
        "KITH_PLUGIN_VERSION_SUFFIX",
        version_suffix.unwrap_or_default(),
    );
    for (key, value) in [
        ("LTO", "true"),
        ("OPT_LEVEL", "3"),
        ("PANIC", "abort"),
        ("CODEGEN_UNITS", "1"),
        ("STRIP", "true"),
        ("DEBUG", "false"),
    ] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(inherited);
    }
    cargo.envs(
        toolchain
            .environment
            .iter()
            .map(|(key, value)| (key, value)),
    );
    let status = cargo.status().context("cargo is missing")?;
    if !status.success() {
        bail!("the plugin does not compile");
    }
    Ok(())
}
