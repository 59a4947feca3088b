//! Where things stand: the repository, the target folder, and what a build leaves in it.
//! Only names and lists; it builds and deletes nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Files of which one makes a folder under `plugins/` a plugin.
const PLUGIN_MANIFESTS: [&str; 3] = ["Cargo.toml", "package.json", "pyproject.toml"];

/// The folder of components a first start leaves alone, in that of all components.
const OPTIONAL: &str = "optional";

/// The places of one build.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The repository's top folder.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// Built with `--release`.
    pub release: bool,
}

impl Layout {
    /// Finds the repository and the target folder this very program was built in, so that whatever chose that folder
    /// (environment or cargo's configuration) chose it for the rest too.
    pub fn find(release: bool) -> Result<Self> {
        let own = std::env::var("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&own)
            .ancestors()
            .nth(2)
            .context("xtask does not stand two folders below the repository's top")?
            .to_owned();
        if !root.join("plugins").is_dir() {
            bail!(
                "{} is not the repository: no plugins/ in it",
                root.display()
            );
        }
        let program = std::env::current_exe().context("cannot tell where xtask runs from")?;
        let target = program
            .ancestors()
            .nth(2)
            .with_context(|| format!("{} is not in a target folder", program.display()))?
            .to_owned();
        Ok(Self {
            root,
            target,
            release,
        })
    }

    /// `target/debug` or `target/release`.
    pub fn profile(&self) -> PathBuf {
        self.target
            .join(if self.release { "release" } else { "debug" })
    }

    /// The server and command line.
    pub fn kith(&self) -> PathBuf {
        self.profile().join("kith")
    }

    /// The folder of built components.
    pub fn components(&self) -> PathBuf {
        self.profile().join("plugins")
    }

    /// The built component of the plugin in `plugins/NAME`. What is not Rust stands one folder deeper: a first start
    /// takes in everything above, and would compile a whole interpreter for each of these.
    pub fn component(&self, plugin: &str) -> PathBuf {
        let file = format!("{plugin}.wasm");
        let is_rust = self.root.join("plugins").join(plugin).join("Cargo.toml");
        match is_rust.is_file() {
            true => self.components().join(file),
            false => self.components().join(OPTIONAL).join(file),
        }
    }

    /// Names of the folders under `plugins/` that hold a plugin, sorted.
    pub fn plugins(&self) -> Result<Vec<String>> {
        let folder = self.root.join("plugins");
        let mut names = Vec::new();
        for item in folder
            .read_dir()
            .with_context(|| format!("cannot list {}", folder.display()))?
        {
            let path = item?.path();
            if PLUGIN_MANIFESTS
                .iter()
                .any(|manifest| path.join(manifest).is_file())
                && let Some(name) = path.file_name().and_then(|name| name.to_str())
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}
