//! Writing a layout's folder: blobs first, the index last, each aside and renamed, so that a layout is whole whenever a
//! write ends. What other tools put into the index stays as it is.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::documents::{Descriptor, INDEX};
use super::layout::{INDEX_FILE, MARK, MARK_TEXT, blob_name, check_mark, io_error, read_file};
use super::{Artifact, DOCUMENT_BYTES_MAX, Digest, OciError};

/// Adds artifacts to a folder that is a layout, empty, or not there yet.
pub fn write(folder: &Path, artifacts: &[Artifact]) -> Result<(), OciError> {
    let mut index = begin(folder)?;
    let listed = index.get_mut("manifests").and_then(Value::as_array_mut);
    let listed = listed.ok_or_else(|| OciError::Malformed {
        what: INDEX_FILE.to_owned(),
        why: "it has no manifests".to_owned(),
    })?;
    for artifact in artifacts {
        for (descriptor, bytes) in &artifact.blobs {
            let name = blob_name(&Digest::parse(&descriptor.digest)?);
            put(folder, &name, bytes)?;
        }
        list(listed, &artifact.entry);
    }
    put(folder, MARK, MARK_TEXT.as_bytes())?;
    put(folder, INDEX_FILE, index.to_string().as_bytes())
}

/// The index of what is there already. Nothing is written among files that are no layout's.
fn begin(folder: &Path) -> Result<Value, OciError> {
    let place = folder.display().to_string();
    let failed = |error| io_error(place.clone(), error);
    let blobs = folder.join("blobs/sha256");
    let is_new = match fs::read_dir(folder) {
        Ok(mut files) => files.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(error)),
    };
    if is_new {
        fs::create_dir_all(blobs).map_err(failed)?;
        return Ok(new_index(&[]));
    }
    let read = |name: &str| read_file(&folder.join(name), name, DOCUMENT_BYTES_MAX);
    check_mark(&place, read(MARK)?.as_deref())?;
    fs::create_dir_all(blobs).map_err(failed)?;
    let Some(index) = read(INDEX_FILE)? else {
        return Ok(new_index(&[]));
    };
    serde_json::from_slice(&index).map_err(|error| OciError::Malformed {
        what: INDEX_FILE.to_owned(),
        why: error.to_string(),
    })
}

pub(super) fn new_index(entries: &[Descriptor]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
}

/// In place of what is listed with the same digest or under the same name.
pub(super) fn list(listed: &mut Vec<Value>, entry: &Descriptor) {
    let entry = json!(entry);
    let annotations =
        |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
    listed.retain(|known| {
        known["digest"] != entry["digest"]
            && (annotations(known).is_null() || annotations(known) != annotations(&entry))
    });
    listed.push(entry);
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), OciError> {
    let path = folder.join(name);
    let aside = folder.join(format!("{name}.part"));
    let written = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, &path));
    if written.is_err() {
        // What was half written is of no use; that it cannot be removed changes nothing.
        drop(fs::remove_file(&aside));
    }
    written.map_err(|error| io_error(path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_the_place_of_its_own_and_leaves_others() {
        let entry = |digest: &str, name: &str| {
            json!({"mediaType": "m", "digest": digest, "size": 1,
                "annotations": {"org.opencontainers.image.ref.name": name}})
        };
        let foreign = json!({"digest": "sha256:x", "platform": {"os": "linux"}});
        let mut listed = vec![
            entry("sha256:a", "one"),
            foreign.clone(),
            entry("sha256:b", "two"),
        ];
        let new: Descriptor = serde_json::from_value(entry("sha256:c", "two")).expect("an entry");
        list(&mut listed, &new);
        list(&mut listed, &new);
        assert_eq!(
            listed,
            [entry("sha256:a", "one"), foreign, entry("sha256:c", "two")]
        );
    }
}
