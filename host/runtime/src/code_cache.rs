//! Compiled and baked components on disk, by name. A file is written aside, synced and renamed, mode 0600; a compiled
//! file is loaded only when its bytes have the sha256 that stands beside it. A mapped file is never written again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::LoadError;

/// What every file's name begins with: a digest in hexadecimal digits.
const KEY_CHARS: usize = 64;

pub(crate) struct CodeCache {
    folder: PathBuf,
    /// Components compiled since the start: a test counts them.
    compiled: AtomicU64,
    /// Components baked since the start.
    baked: AtomicU64,
    written: AtomicU64,
    /// Compiled files whose hash was right: inode, bytes and change of each. A file of a name is never written twice.
    checked: Mutex<HashMap<String, (u64, u64, i64)>>,
    /// Held by a sweep alone, and by those who need what they have just written.
    sweeping: RwLock<()>,
    /// How many versions need the files of a name, and may read them again.
    needed: Mutex<HashMap<String, usize>>,
    /// Names of which a sweep left the files because somebody needed them: they go with the last who does.
    doomed: Mutex<HashSet<String>>,
}

impl CodeCache {
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let what = || format!("the plugin cache {} cannot be made", folder.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(LoadError::io(what()))?;
        Ok(Self {
            folder: folder.to_owned(),
            compiled: AtomicU64::new(0),
            baked: AtomicU64::new(0),
            written: AtomicU64::new(0),
            checked: Mutex::default(),
            sweeping: RwLock::new(()),
            needed: Mutex::default(),
            doomed: Mutex::default(),
        })
    }

    /// Nothing is swept away while this is held. It may be taken again by whoever holds it.
    pub fn unswept(&self) -> RwLockReadGuard<'_, ()> {
        self.sweeping.read_recursive()
    }

    /// The files of these names stay until as many `release`.
    pub fn need(&self, names: [&str; 3]) {
        let mut needed = self.needed.lock();
        for name in names {
            *needed.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Whoever needed the files of these names does no longer; what a sweep left because of that goes.
    pub fn release(&self, names: [&str; 3]) {
        let mut free = HashSet::new();
        let mut needed = self.needed.lock();
        for name in names {
            let Some(count) = needed.get_mut(name) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                needed.remove(name);
                free.extend(self.doomed.lock().take(name));
            }
        }
        drop(needed);
        if free.is_empty() {
            return;
        }
        // Something is being prepared, perhaps the same again: the next sweep takes it away.
        let Some(_alone) = self.sweeping.try_write() else {
            return;
        };
        let removed = self.each_file(|key, file| {
            if key.is_some_and(|key| free.contains(key)) {
                self.remove(file)?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "files of a version that is gone stay in the cache");
        }
    }

    pub fn compiled(&self) -> u64 {
        self.compiled.load(Ordering::Relaxed)
    }

    pub fn note_baked(&self) {
        self.baked.fetch_add(1, Ordering::Relaxed);
    }

    pub fn baked(&self) -> u64 {
        self.baked.load(Ordering::Relaxed)
    }

    /// The compiled component of this name, compiled now when it is not there or not whole.
    pub fn component(
        &self,
        engine: &Engine,
        name: &str,
        wasm: &[u8],
    ) -> Result<Component, LoadError> {
        if let Some(component) = self.load(engine, name) {
            return Ok(component);
        }
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let code = engine
            .precompile_component(wasm)
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let _unswept = self.unswept();
        self.write(
            &format!("{name}.cwasm.sha256"),
            hex(&Sha256::digest(&code)).as_bytes(),
        )?;
        self.write(&format!("{name}.cwasm"), &code)?;
        self.load(engine, name).ok_or_else(|| {
            LoadError::Compile("the compiled file could not be read back".to_owned())
        })
    }

    /// The compiled component of this name, where it is there and whole.
    pub fn load(&self, engine: &Engine, name: &str) -> Option<Component> {
        let path = self.folder.join(format!("{name}.cwasm"));
        if !self.is_whole(name, &path)? {
            tracing::warn!(
                name,
                "a compiled plugin in the cache is damaged; it is compiled anew"
            );
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the file is this host's own: mode 0600, renamed into place, its hash just checked"
        )]
        let loaded = unsafe { Component::deserialize_file(engine, &path) };
        // One of another machine or engine: compiled anew.
        loaded
            .inspect_err(
                |error| tracing::info!(name, %error, "a compiled plugin does not fit this engine"),
            )
            .ok()
    }

    /// Whether a compiled file has the hash that stands beside it; `None` where it is not there. Its bytes are read once
    /// a process, not with every load.
    fn is_whole(&self, name: &str, path: &Path) -> Option<bool> {
        let stands = fs::metadata(path).ok()?;
        let seen = (
            stands.ino(),
            stands.len(),
            stands.mtime_nsec() ^ stands.mtime(),
        );
        if self.checked.lock().get(name) == Some(&seen) {
            return Some(true);
        }
        let expected = fs::read_to_string(self.folder.join(format!("{name}.cwasm.sha256"))).ok()?;
        let code = fs::read(path).ok()?;
        let whole = hex(&Sha256::digest(&code)) == expected;
        if whole {
            self.checked.lock().insert(name.to_owned(), seen);
        }
        Some(whole)
    }

    pub fn has(&self, file: &str) -> bool {
        self.folder.join(file).is_file()
    }

    pub fn read(&self, file: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.join(file)).ok()
    }

    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<(), LoadError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let aside = self
            .folder
            .join(format!("{file}.{}-{number}.part", std::process::id()));
        let path = self.folder.join(file);
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)
            .and_then(|mut part| {
                part.write_all(bytes)?;
                part.sync_data()?;
                fs::rename(&aside, &path)
            });
        if written.is_err() {
            // What was half written is of no use; that it cannot be removed changes nothing.
            drop(fs::remove_file(&aside));
        }
        written.map_err(LoadError::io(format!(
            "{} could not be written",
            path.display()
        )))
    }

    /// The bytes of what belongs to none of these names, each as long as a digest; with `remove` it goes, or with the last
    /// version that needs it.
    pub fn sweep(&self, keep: &HashSet<&str>, remove: bool) -> Result<u64, LoadError> {
        // What was just written is first used.
        let _using = self.sweeping.write();
        let mut bytes = 0;
        self.each_file(|key, file| {
            if key.is_some_and(|key| keep.contains(key)) {
                return Ok(());
            }
            let needed = key.filter(|key| self.needed.lock().contains_key(*key));
            if let Some(key) = needed {
                if remove {
                    self.doomed.lock().insert(key.to_owned());
                }
                return Ok(());
            }
            bytes += file.metadata().map_or(0, |metadata| metadata.len());
            if remove {
                self.remove(file)?;
            }
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Every file, with what its name begins with.
    fn each_file(
        &self,
        mut see: impl FnMut(Option<&str>, &fs::DirEntry) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let what = || format!("the plugin cache {} cannot be read", self.folder.display());
        for file in fs::read_dir(&self.folder).map_err(LoadError::io(what()))? {
            let file = file.map_err(LoadError::io(what()))?;
            let name = file.file_name();
            see(name.to_str().and_then(|name| name.get(..KEY_CHARS)), &file)?;
        }
        Ok(())
    }

    /// Whoever has it mapped keeps it: unlinking is harmless.
    fn remove(&self, file: &fs::DirEntry) -> Result<(), LoadError> {
        let name = file.file_name();
        if let Some(code) = name.to_str().and_then(|name| name.strip_suffix(".cwasm")) {
            self.checked.lock().remove(code);
        }
        fs::remove_file(file.path())
            .map_err(LoadError::io(format!("{} stays", file.path().display())))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
}
