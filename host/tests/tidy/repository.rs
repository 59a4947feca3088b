//! The repository as the rules see it: every file's path and text, read once.
//! Build output and hidden folders are no part of it, but for `.cargo` and `.ci`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Names of folders that are never looked into.
const OUTPUT: [&str; 4] = ["target", "node_modules", "__pycache__", "dist"];
/// Hidden folders that are ours.
const HIDDEN: [&str; 2] = [".cargo", ".ci"];

/// One file, its path relative to the top with `/` between names.
pub struct File {
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Empty when the file is no UTF-8 text.
    pub text: String,
}

impl File {
    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    #[cfg(test)]
    pub fn made_up(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            size: text.len() as u64,
            text: text.to_owned(),
        }
    }
}

/// All files, sorted by path.
pub struct Repository {
    pub top: PathBuf,
    pub files: Vec<File>,
}

impl Repository {
    /// The repository this test was built from.
    pub fn whole() -> &'static Self {
        static WHOLE: OnceLock<Repository> = OnceLock::new();
        WHOLE.get_or_init(|| {
            let top = Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .expect("the host stands in the repository")
                .to_owned();
            let mut files = Vec::new();
            read(&top, &top, &mut files);
            files.sort_by(|a, b| a.path.cmp(&b.path));
            assert!(files.len() > 20, "{} is no repository", top.display());
            Repository { top, files }
        })
    }

    /// The file at `path`, which must exist.
    pub fn file(&self, path: &str) -> &File {
        self.files
            .iter()
            .find(|file| file.path == path)
            .unwrap_or_else(|| panic!("{path} is missing from the repository"))
    }

    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub fn ending(&self, ending: &str) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(move |file| file.path.ends_with(ending))
    }

    #[cfg(test)]
    pub fn of(files: Vec<File>) -> Self {
        Self {
            top: PathBuf::new(),
            files,
        }
    }
}

fn read(top: &Path, folder: &Path, files: &mut Vec<File>) {
    let items = folder
        .read_dir()
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    for item in items {
        let path = item.expect("a folder can be listed to its end").path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_dir() {
            let ours = !name.starts_with('.') || HIDDEN.contains(&name.as_str());
            if ours && !OUTPUT.contains(&name.as_str()) {
                read(top, &path, files);
            }
            continue;
        }
        if name == ".git" {
            // In a linked work tree it is a file.
            continue;
        }
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let relative = path.strip_prefix(top).expect("below the top");
        files.push(File {
            path: relative.to_string_lossy().replace('\\', "/"),
            size: bytes.len() as u64,
            text: String::from_utf8(bytes).unwrap_or_default(),
        });
    }
}
