//! A layout in a tar file. It is looked through once for where each file stands, and nothing of it is unpacked; a link,
//! a device or a name that leads out refuses the whole archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tar::EntryType;

use super::folder::{list, new_index};
use super::layout::{INDEX_FILE, MARK, MARK_TEXT, blob_name, io_error, read_bounded};
use super::{Artifact, Digest, OciError};

/// Most files of an archive.
const MEMBERS_MAX: usize = 65_536;

/// Where each file stands.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// First byte and length, by name.
    members: HashMap<String, (u64, u64)>,
}

impl Archive {
    pub fn open(path: &Path) -> Result<Self, OciError> {
        let place = || path.display().to_string();
        let file = File::open(path).map_err(|error| io_error(place(), error))?;
        let begins = read_bounded(io::Read::take(&file, 4), &place(), 4)?;
        if let Some(why) = other_kind(&begins) {
            let why = why.to_owned();
            return Err(OciError::NotALayout {
                place: place(),
                why,
            });
        }
        let members = look_through(&file).map_err(|error| match error {
            Looked::Failed(error) => OciError::NotALayout {
                place: place(),
                why: format!("it cannot be read as a tar file: {error}"),
            },
            Looked::Refused(what, why) => OciError::Refused { what, why },
        })?;
        Ok(Self {
            path: path.to_owned(),
            members,
        })
    }

    /// A file of the archive; `None` when it is not there.
    pub fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, OciError> {
        let Some((from, length)) = self.members.get(name).copied() else {
            return Ok(None);
        };
        let failed = |error| io_error(format!("{name} in {}", self.path.display()), error);
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        read_bounded(io::Read::take(file, length), name, most).map(Some)
    }
}

/// What a file is that is often taken for a tar file.
fn other_kind(begins: &[u8]) -> Option<&'static str> {
    match begins {
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => {
            Some("it is compressed: unpack it to a .tar")
        }
        b"\0asm" => Some("it is a component: `kith plugin push` takes it"),
        _ => None,
    }
}

enum Looked {
    Failed(io::Error),
    Refused(String, &'static str),
}

impl From<io::Error> for Looked {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn look_through(mut file: &File) -> Result<HashMap<String, (u64, u64)>, Looked> {
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(file);
    let mut members = HashMap::new();
    // Raw: long names and other extensions are no layout's, and are never held in memory.
    for (count, entry) in archive.entries_with_seek()?.raw(true).enumerate() {
        let entry = entry?;
        let header = entry.header();
        let name = super::remote::clean(&String::from_utf8_lossy(&header.path_bytes()));
        let refused = |why| Err(Looked::Refused(format!("the entry {name}"), why));
        if count == MEMBERS_MAX {
            return refused("the archive has too many");
        }
        let plain = name.strip_prefix("./").unwrap_or(&name);
        match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory => continue,
            kind if is_extension(kind) => continue,
            _ => return refused("a layout holds plain files only"),
        }
        if plain.starts_with('/') || plain.split('/').any(|part| part == "..") {
            return refused("its name leads out of the layout");
        }
        let place = (entry.raw_file_position(), header.entry_size()?);
        if members.insert(plain.to_owned(), place).is_some() {
            return refused("it stands twice");
        }
    }
    Ok(members)
}

fn is_extension(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink
    )
}

/// Writes a layout as a new tar file, the same bytes for the same artifacts.
pub fn write(path: &Path, artifacts: &[Artifact]) -> Result<(), OciError> {
    let place = || path.display().to_string();
    if path.exists() {
        let why = "it is there already; a folder can be added to, a tar file is written new";
        return Err(OciError::Refused { what: place(), why });
    }
    let mut files: Vec<(String, &[u8])> = Vec::new();
    let mut listed = Vec::new();
    for artifact in artifacts {
        for (descriptor, bytes) in &artifact.blobs {
            let name = blob_name(&Digest::parse(&descriptor.digest)?);
            if files.iter().all(|(known, _)| *known != name) {
                files.push((name, bytes));
            }
        }
        list(&mut listed, &artifact.entry);
    }
    let mut index = new_index(&[]);
    index["manifests"] = Value::Array(listed);
    let index = index.to_string();
    let aside = path.with_extension("tar.part");
    let written = write_tar(&aside, &files, &index).and_then(|()| std::fs::rename(&aside, path));
    if written.is_err() {
        // What was half written is of no use; that it cannot be removed changes nothing.
        drop(std::fs::remove_file(&aside));
    }
    written.map_err(|error| io_error(place(), error))
}

fn write_tar(path: &Path, files: &[(String, &[u8])], index: &str) -> io::Result<()> {
    let mut builder = tar::Builder::new(BufWriter::new(File::create(path)?));
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes)
    };
    add(MARK, MARK_TEXT.as_bytes())?;
    for (name, bytes) in files {
        add(name, bytes)?;
    }
    add(INDEX_FILE, index.as_bytes())?;
    let mut file = builder.into_inner()?;
    file.flush()
}
