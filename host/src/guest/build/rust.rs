//! A component from a crate: cargo for the guest target,
//! then the component encoder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::{Made, suffixed};
use crate::guest::toolchain::{self, TARGET};

/// Compiles the crate in a folder.
pub fn make(folder: &Path, version_suffix: Option<&str>, say: &dyn Fn(&str)) -> Result<Made> {
    let manifest = folder.join("Cargo.toml");
    let package = package(&manifest)?;
    let guest_target = package.target_folder.join("guest");
    let toolchain = toolchain::ready(&guest_target, say)?;
    let version = suffixed(&package.version, version_suffix);
    say(&format!("compiling {} {version}", package.name));
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
    Ok(Made {
        component,
        name: package.name,
        version,
    })
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
