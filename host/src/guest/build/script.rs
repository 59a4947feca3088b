//! What the scripting languages share: a stage with everything the component is made of, and a cache by the stage's
//! digest, because their tool chains are slow and make other bytes each time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::tools;

/// Counted up when what is made of the same stage changes.
const FORMAT: &str = "1";
/// Components kept in the cache; the ones used longest ago go first.
const KEPT_MOST: usize = 64;
/// Never part of a plugin's source.
const LEFT_OUT: [&str; 5] = ["target", "node_modules", "__pycache__", "fixtures", "kith"];

/// A folder with everything that goes into a component.
pub struct Stage {
    folder: TempDir,
}

impl Stage {
    pub fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir().context("no temporary folder can be made")?,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one generated file.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.path().join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Copies a plugin's own folder, without what is no source.
    pub fn copy_source(&self, from: &Path, to: &str) -> Result<()> {
        copy(from, &self.path().join(to), &LEFT_OUT)
    }

    /// Copies a folder whole.
    pub fn copy_all(&self, from: &Path, to: &str) -> Result<()> {
        copy(from, &self.path().join(to), &["__pycache__"])
    }

    /// The component of this stage: from the cache, or made now.
    pub fn component(
        &self,
        tools: &str,
        make: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let mut files = Vec::new();
        list(self.path(), &mut files)?;
        files.sort();
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(FORMAT.as_bytes());
        add(tools.as_bytes());
        for file in &files {
            let name = file.strip_prefix(self.path())?;
            add(name.to_string_lossy().as_bytes());
            add(&std::fs::read(file)?);
        }
        let digest: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let folder = tools::cache()?.join("components");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let kept = folder.join(format!("{digest}.wasm"));
        if let Ok(component) = std::fs::read(&kept) {
            // The last use, for `let_go`; where it cannot be noted, another goes first.
            #[allow(clippy::disallowed_methods)]
            // a file's time: nothing of a message depends on it
            let now = std::time::SystemTime::now();
            drop(std::fs::File::open(&kept).and_then(|file| file.set_modified(now)));
            return Ok(component);
        }
        let component = make()?;
        let mut aside = tempfile::NamedTempFile::new_in(&folder)?;
        std::io::Write::write_all(&mut aside, &component)?;
        aside.persist(&kept)?;
        let_go(&folder)?;
        Ok(component)
    }
}

/// Removes what was used longest ago beyond what is kept.
fn let_go(folder: &Path) -> Result<()> {
    let mut kept: Vec<_> = std::fs::read_dir(folder)?
        .flatten()
        .filter_map(|item| Some((item.metadata().ok()?.modified().ok()?, item.path())))
        .collect();
    kept.sort();
    let spare = kept.len().saturating_sub(KEPT_MOST);
    for (_, file) in kept.into_iter().take(spare) {
        // Another build may have been faster.
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let listed = from
        .read_dir()
        .with_context(|| format!("cannot read {}", from.display()))?;
    for item in listed {
        let path = item?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let shown = name.to_string_lossy();
        if shown.starts_with('.') || left_out.contains(&&*shown) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name), left_out)?;
        } else {
            std::fs::copy(&path, to.join(name))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for item in folder.read_dir()? {
        let path = item?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
