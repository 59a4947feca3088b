//! Layouts in tar files, as other tools write them and as nobody should: what leads out, what is a link, what stands
//! twice, what is no tar file at all.

use std::io::Write;
use std::path::Path;

use super::layouts::{Spoiled, with_three};
use super::{plugin, text, versions};
use crate::support::TestServer;

type Builder = tar::Builder<std::fs::File>;

/// A tar file of a folder, as tar makes it of `.`, with something before it.
fn packed(layout: &Path, archive: &Path, before: impl FnOnce(&mut Builder)) {
    let file = std::fs::File::create(archive).expect("a file");
    let mut builder = tar::Builder::new(file);
    before(&mut builder);
    builder.append_dir_all(".", layout).expect("packed");
    builder
        .into_inner()
        .expect("packed")
        .flush()
        .expect("written");
}

/// An entry whose name tar itself would not write.
fn entry(builder: &mut Builder, name: &str, kind: tar::EntryType, link: &str) {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    if !link.is_empty() {
        header.set_link_name(link).expect("a link");
    }
    header.set_cksum();
    builder.append(&header, std::io::empty()).expect("packed");
}

#[tokio::test]
async fn an_archive_made_by_tar_comes_in() {
    let here = with_three().await;
    let layout = Spoiled::export(&here, &["word-filter@0.1.0", "group-strategy@0.1.0"]).await;
    let archive = layout.file("../made.tar");
    packed(&layout.path(), &archive, |builder| {
        // What else such a file may have: a comment, a long name, a file of another tool.
        let comment = [("comment", &b"of no importance"[..])];
        builder.append_pax_extensions(comment).expect("packed");
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        let long = format!("{}/manifest.json", "long".repeat(40));
        builder
            .append_data(&mut header, long, std::io::empty())
            .expect("packed");
    });
    let there = TestServer::bare().await;
    let imported = plugin(&there, &["import", text(&archive), "--json"]).await;
    assert_eq!(imported.json().as_array().map(Vec::len), Some(2));
    assert_eq!(versions(&there).await.len(), 2);
}

#[tokio::test]
async fn an_archive_that_leads_anywhere_else_is_refused_whole() {
    use tar::EntryType;
    let here = with_three().await;
    let layout = Spoiled::export(&here, &["word-filter@0.1.0"]).await;
    let there = TestServer::bare().await;
    let archive = layout.file("../hostile.tar");
    let sum = "blobs/sha256/aa";
    for (name, kind, link, why) in [
        (
            "../letter.txt",
            EntryType::Regular,
            "",
            "leads out of the layout",
        ),
        (
            "blobs/../../letter.txt",
            EntryType::Regular,
            "",
            "leads out of the layout",
        ),
        (
            "/etc/letter.txt",
            EntryType::Regular,
            "",
            "leads out of the layout",
        ),
        (
            sum,
            EntryType::Symlink,
            "../../letter.txt",
            "plain files only",
        ),
        (sum, EntryType::Link, "letter.txt", "plain files only"),
        (sum, EntryType::Fifo, "", "plain files only"),
        (sum, EntryType::Char, "", "plain files only"),
        ("./index.json", EntryType::Regular, "", "it stands twice"),
    ] {
        packed(&layout.path(), &archive, |builder| {
            entry(builder, name, kind, link)
        });
        let refused = plugin(&there, &["import", text(&archive)]).await.refused();
        assert!(refused.contains(why), "{name}: {refused}");
        let shown = name.trim_start_matches("./");
        assert!(refused.contains(shown), "{name}: {refused}");
    }
    assert!(versions(&there).await.is_empty());
}

#[tokio::test]
async fn a_file_that_is_no_tar_file_is_told_what_it_is() {
    let there = TestServer::bare().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("what.tar");
    let here = with_three().await;
    let layout = Spoiled::export(&here, &["word-filter@0.1.0"]).await;
    let whole = layout.file("../whole.tar");
    packed(&layout.path(), &whole, |_| {});
    let whole = std::fs::read(whole).expect("the archive");
    for (bytes, why) in [
        (b"\x1f\x8b\x08\0\0\0".to_vec(), "it is compressed"),
        (b"\x28\xb5\x2f\xfd\0\0".to_vec(), "it is compressed"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "`kith plugin push` takes it"),
        (vec![b'x'; 5_000], "cannot be read as a tar file"),
        (Vec::new(), "has no file oci-layout"),
        (whole[..whole.len() / 2].to_vec(), "kith: "),
    ] {
        std::fs::write(&file, bytes).expect("written");
        let refused = plugin(&there, &["import", text(&file)]).await.refused();
        assert!(refused.contains(why), "{refused}");
    }
    assert!(versions(&there).await.is_empty());
}
