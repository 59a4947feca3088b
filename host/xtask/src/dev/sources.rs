//! Notices that what a plugin is built from has changed: its own folder, the kit for authors, the contract.
//! Polls names, times and sizes; reads contents only when those differ, so saving a file unchanged does nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::layout::Layout;

/// What plugins are built from besides their own folders: by the manifest that tells the language, the kit.
const KITS: [(&str, &str); 3] = [
    ("Cargo.toml", "sdk/rust"),
    ("package.json", "sdk/js"),
    ("pyproject.toml", "sdk/python"),
];
/// The contract.
const CONTRACT: &str = "wit";

/// The sources of one plugin and what was last seen of them.
pub struct Sources {
    folders: Vec<PathBuf>,
    /// Names, times and sizes at the last look.
    stamp: u64,
    /// True while changes go on: contents are read once a look finds nothing new.
    settling: bool,
    /// Contents that are built, or were tried.
    known: u64,
}

impl Sources {
    /// `serving`: the fingerprint of what is serving now.
    pub fn of_plugin(layout: &Layout, name: &str, serving: u64) -> Self {
        Self::new(folders(layout, name), serving)
    }

    fn new(folders: Vec<PathBuf>, serving: u64) -> Self {
        Self {
            stamp: stamp(&folders),
            folders,
            settling: true,
            known: serving,
        }
    }

    /// The new fingerprint, once, when contents differ from what is known and have been still for one look.
    pub fn changed(&mut self) -> Option<u64> {
        let stamp = stamp(&self.folders);
        if stamp != self.stamp {
            self.stamp = stamp;
            self.settling = true;
            return None;
        }
        if !std::mem::take(&mut self.settling) {
            return None;
        }
        let contents = contents(&self.folders);
        let changed = contents != self.known;
        self.known = contents;
        changed.then_some(contents)
    }
}

/// The fingerprint of what a plugin would be built from now.
pub fn fingerprint(layout: &Layout, name: &str) -> u64 {
    contents(&folders(layout, name))
}

fn folders(layout: &Layout, name: &str) -> Vec<PathBuf> {
    let own = layout.root.join("plugins").join(name);
    let kit = KITS
        .iter()
        .find(|(manifest, _)| own.join(manifest).is_file())
        .map(|(_, kit)| layout.root.join(kit));
    std::iter::once(own)
        .chain(kit)
        .chain([layout.root.join(CONTRACT)])
        .collect()
}

fn stamp(folders: &[PathBuf]) -> u64 {
    hashed(folders, |path, hasher| {
        if let Ok(metadata) = path.metadata() {
            metadata.len().hash(hasher);
            metadata.modified().ok().hash(hasher);
        }
    })
}

fn contents(folders: &[PathBuf]) -> u64 {
    hashed(folders, |path, hasher| {
        // A file that vanishes meanwhile is seen as gone at the next look.
        std::fs::read(path).unwrap_or_default().hash(hasher);
    })
}

fn hashed(folders: &[PathBuf], mut add: impl FnMut(&Path, &mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    for folder in folders {
        let mut files = Vec::new();
        list(folder, &mut files);
        files.sort();
        for file in files {
            file.hash(&mut hasher);
            add(&file, &mut hasher);
        }
    }
    hasher.finish()
}

/// Files below `folder`, without build output, hidden files (editors' swap files) and backups.
fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(items) = folder.read_dir() else { return };
    for item in items.flatten() {
        let name = item.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.')
            || name.ends_with('~')
            || name == "target"
            || name == "node_modules"
            || name == "__pycache__"
        {
            continue;
        }
        let path = item.path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder that goes away with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("target")).expect("a temporary folder");
            Self(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).expect("a file can be written");
        }

        fn contents(&self) -> u64 {
            contents(std::slice::from_ref(&self.0))
        }

        /// What is there now is serving.
        fn sources(&self) -> Sources {
            Sources::new(vec![self.0.clone()], self.contents())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_change_is_told_once_and_after_it_is_still() {
        let folder = Folder::new("still");
        folder.write("lib.rs", "one");
        let mut sources = folder.sources();
        assert_eq!(sources.changed(), None, "nothing changed yet");
        folder.write("lib.rs", "three");
        assert_eq!(sources.changed(), None, "it may still be changing");
        assert!(sources.changed().is_some());
        assert_eq!(sources.changed(), None, "told once");
    }

    #[test]
    fn build_output_and_hidden_files_are_not_sources() {
        let folder = Folder::new("output");
        folder.write("lib.rs", "one");
        let before = folder.contents();
        folder.write("target/lib.wasm", "built");
        folder.write(".lib.rs.swp", "editing");
        folder.write("lib.rs~", "a backup");
        assert_eq!(folder.contents(), before);
        folder.write("new.rs", "");
        assert_ne!(folder.contents(), before);
    }

    #[test]
    fn what_changed_while_nobody_watched_is_told_at_the_first_look() {
        let folder = Folder::new("away");
        folder.write("lib.rs", "one");
        let before = folder.contents();
        folder.write("lib.rs", "two");
        let mut sources = Sources::new(vec![folder.0.clone()], before);
        assert!(sources.changed().is_some());
    }
}
