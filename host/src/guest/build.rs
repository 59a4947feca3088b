//! From a plugin's folder to a component: its manifest says the language, and the language what makes the component;
//! what comes out is looked at as a server would, and must be what the manifest says.

mod javascript;
mod kit;
mod python;
mod rust;
mod script;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kith_runtime::{Inspection, Runtime, Settings};

/// Compiled code kept on the author's machine, bytes.
const CODE_BYTES_MOST: u64 = 1 << 30;

/// A component that was built and looked at.
#[derive(Debug)]
pub struct Built {
    pub file: PathBuf,
    pub inspection: Inspection,
}

/// A component as its tool chain left it, and what the manifest says it is.
struct Made {
    component: Vec<u8>,
    name: String,
    version: String,
}

/// Builds the plugin in a folder. `out` is the file to write (default: DIR/target/NAME-VERSION.wasm); a version
/// suffix makes X.Y.Z into X.Y.Z-SUFFIX. `say` is told each step.
pub fn build(
    folder: &Path,
    out: Option<&Path>,
    version_suffix: Option<&str>,
    say: &dyn Fn(&str),
) -> Result<Built> {
    let holds = |manifest: &str| folder.join(manifest).is_file();
    let made = if holds("Cargo.toml") {
        rust::make(folder, version_suffix, say)?
    } else if holds("package.json") {
        javascript::make(folder, version_suffix, say)?
    } else if holds("pyproject.toml") {
        python::make(folder, version_suffix, say)?
    } else {
        bail!(
            "{} has no Cargo.toml, package.json or pyproject.toml: is it a plugin's folder?",
            folder.display()
        );
    };
    let inspection = inspect(&made.component)?;
    if (inspection.name.as_str(), inspection.version.as_str())
        != (made.name.as_str(), made.version.as_str())
    {
        bail!(
            "describe says {} {}, the manifest {} {}",
            inspection.name,
            inspection.version,
            made.name,
            made.version
        );
    }
    let default = folder
        .join("target")
        .join(format!("{}-{}.wasm", made.name, made.version));
    let file = out.map_or(default, Path::to_path_buf);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&file, &made.component)
        .with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!(
        "{} bytes, hooks: {}",
        made.component.len(),
        hooks(&inspection)
    ));
    Ok(Built { file, inspection })
}

/// The version with its suffix.
fn suffixed(version: &str, suffix: Option<&str>) -> String {
    match suffix {
        Some(suffix) => format!("{version}-{suffix}"),
        None => version.to_owned(),
    }
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
    let runtime = Runtime::new(Settings::new(code_cache()?))?;
    Ok(runtime.inspect(component)?)
}

/// Where the author's own machine keeps compiled code, so that looking at a component and testing it compile it once.
/// What was not compiled lately goes when it grows beyond its bound.
pub fn code_cache() -> Result<PathBuf> {
    let folder = tools::cache()?.join("code");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut files: Vec<_> = std::fs::read_dir(&folder)?
        .flatten()
        .filter_map(|item| {
            let about = item.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((about.modified().ok()?, about.len(), item.path()))
        })
        .collect();
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    files.sort();
    for (_, size, file) in files {
        if bytes <= CODE_BYTES_MOST {
            break;
        }
        // Another process may have been faster.
        let _ = std::fs::remove_file(file);
        bytes -= size;
    }
    Ok(folder)
}
