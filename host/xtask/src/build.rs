//! `cargo xtask build`: the host, then every plugin with the host's own `plugin build`, as any author would.
//! Leaves `target/PROFILE/kith` and `target/PROFILE/plugins/NAME.wasm`; nothing else may build plugins another way.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::child;
use crate::layout::Layout;
use crate::machine;
use crate::progress::Steps;

/// The whole task, with its steps announced.
pub fn run(release: bool) -> Result<()> {
    let layout = Layout::find(release)?;
    let mut steps = Steps::of(3);
    steps.take("checking the tool chain", machine::tool_chain)?;
    steps.take("building the host", || host(&layout))?;
    steps.take("building the plugins", || plugins(&layout))?;
    println!("\n{}", layout.kith().display());
    for plugin in layout.plugins()? {
        println!("{}", layout.component(&plugin).display());
    }
    Ok(())
}

/// Builds the program. One that is not released is built with one of the tests and a plugin, for the features of shared
/// crates that `cargo test --workspace` asks for: else a hundred crates, wasmtime among them, are compiled twice.
pub fn host(layout: &Layout) -> Result<()> {
    let mut cargo = child::cargo();
    cargo
        .current_dir(&layout.root)
        .args(["build", "--package", "kith", "--bin", "kith"])
        .env("CARGO_TARGET_DIR", &layout.target);
    if layout.release {
        cargo.arg("--release");
    } else {
        cargo.args(["--package", "word-filter", "--test", "costs"]);
    }
    child::run(&mut cargo)
}

/// Builds every plugin; the program must be built.
pub fn plugins(layout: &Layout) -> Result<()> {
    let folder = layout.components();
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let names = layout.plugins()?;
    remove_strays(&folder, &names)?;
    for name in &names {
        if let Some(missing) = machine::missing_for(&layout.root.join("plugins").join(name)) {
            println!("      {name} is left out: {missing} is missing");
            continue;
        }
        if let Some(folder) = layout.component(name).parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        plugin(layout, name, &layout.component(name), None)?;
    }
    Ok(())
}

/// Builds one plugin to `out`. `suffix` is appended to its version as a pre-release, such as `dev.3`: the server refuses
/// another digest under a version it knows.
pub fn plugin(layout: &Layout, name: &str, out: &Path, suffix: Option<&str>) -> Result<()> {
    let mut kith = child::command(layout.kith());
    kith.current_dir(&layout.root)
        .args(["plugin", "build"])
        .arg(Path::new("plugins").join(name))
        .arg("--out")
        .arg(out);
    if let Some(suffix) = suffix {
        kith.args(["--version-suffix", suffix]);
    }
    child::run(&mut kith)?;
    if !out.is_file() {
        bail!(
            "`kith plugin build` reported success and left no {}",
            out.display()
        );
    }
    Ok(())
}

/// Components of plugins that are no longer in the repository would be loaded at first start.
fn remove_strays(folder: &Path, names: &[String]) -> Result<()> {
    for item in folder.read_dir()? {
        let path = item?.path();
        let known = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| names.iter().any(|name| name == stem));
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
            && !known
        {
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
