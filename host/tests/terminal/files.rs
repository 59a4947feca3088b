//! Files from keyboard to keyboard: sent as what they are, saved as they were, large ones with their progress, shown
//! as pictures, and what cannot be sent or saved with the reason.

use std::path::{Path, PathBuf};

use kith::config::{Config, MediaEngine};

use super::keyboard::Chat;
use crate::media::steps::{picture, sound};
use crate::support::TestServer;

/// Bytes of the largest file of no other kind that the server takes.
const FILE_BYTES: u64 = 3_000_000;

/// What the server of these tests takes.
pub fn allow(config: &mut Config) {
    config.media.file_bytes = FILE_BYTES;
    let types = ["image/*", "audio/*", "text/*", "application/octet-stream"];
    config.media.types = types.map(str::to_owned).into();
}

/// A folder with files of these names.
fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("writes");
    }
    folder
}

fn at(folder: &Path, name: &str) -> (String, PathBuf) {
    let path = folder.join(name);
    (path.display().to_string(), path)
}

/// The place of the entry that a line shows.
fn seq(line: &str) -> u64 {
    let behind = line.split('#').nth(1).expect("a seq");
    let digits = behind.split(' ').next().expect("a word");
    digits.parse().expect("a number")
}

pub async fn are_sent_and_saved(ann: &mut Chat, bob: &mut Chat) {
    let long: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let files = [
        ("my cat.png", picture(40, 30)),
        ("said.wav", sound(1500)),
        ("notes.txt", "海 and land".into()),
        ("long.bin", long),
    ];
    let folder = folder(&files);
    for ((name, bytes), shown) in files.iter().zip([
        "[image my cat.png, 40×30, ",
        "[voice said.wav, 0:02, 12.0 kB]",
        "[file notes.txt, 12 B]",
        "[file long.bin, 2.0 MB]",
    ]) {
        let (file, _) = at(folder.path(), name);
        ann.types(&format!(":send {file}")).await;
        if bytes.len() > 1_000_000 {
            ann.sees("… long.bin: 50 % of 2.0 MB").await;
        }
        ann.sees(&format!("you: {shown}")).await;
        let line = bob.sees(&format!("ann: {shown}")).await;
        let (saved, path) = at(folder.path(), &format!("copy of {name}"));
        bob.types(&format!(":save {} {saved}", seq(&line))).await;
        if bytes.len() > 1_000_000 {
            // How much comes at a time is the network's to say.
            bob.sees("… copy of long.bin: ").await;
        }
        bob.sees(&format!("* {saved} is saved, ")).await;
        assert!(std::fs::read(path).expect("a file") == *bytes, "{name}");
    }
    // What is there is never written over, and nothing half-written is left.
    let (file, path) = at(folder.path(), "notes.txt");
    bob.types(&format!(":send \"{file}\"")).await;
    let line = ann.sees("bob: [file notes.txt, 12 B]").await;
    let (taken, other) = at(folder.path(), "my cat.png");
    ann.types(&format!(":save {} {taken}", seq(&line))).await;
    ann.sees(&format!("! {taken} is there already: name another file"))
        .await;
    assert_eq!(std::fs::read(other).expect("a file"), files[0].1);
    assert_eq!(std::fs::read(path).expect("a file"), files[2].1);
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 2 * files.len());
}

pub async fn are_refused_with_the_reason(ann: &mut Chat, bob: &mut Chat) {
    let folder = folder(&[
        ("empty", Vec::new()),
        ("large.bin", vec![0; FILE_BYTES as usize + 1]),
        ("a.zip", b"PK\x03\x04 not much of an archive".to_vec()),
        ("cut.png", picture(64, 64)[..100].to_vec()),
        ("notes.txt", b"land".to_vec()),
    ]);
    let here = folder.path().display().to_string();
    for (file, why) in [
        ("/none.png", format!("! there is no file {here}/none.png")),
        ("", format!("! {here} is a folder")),
        ("/empty", format!("! {here}/empty is empty")),
        (
            "/large.bin",
            format!("! large.bin: larger than {FILE_BYTES} bytes (too_large)"),
        ),
        (
            "/a.zip",
            "! a.zip: files of type application/zip are not taken here (bad_request)".to_owned(),
        ),
        (
            "/cut.png",
            "! cut.png: the picture cannot be read".to_owned(),
        ),
    ] {
        ann.types(&format!(":send {here}{file}")).await;
        ann.sees(&why).await;
    }
    ann.types(&format!(":send {here}/notes.txt")).await;
    let line = bob.sees("ann: [file notes.txt, 4 B]").await;
    let seq = seq(&line);
    for (asked, why) in [
        (format!("{seq} {here}"), "is a folder: name a file in it"),
        (format!("{seq} {here}/none/x"), "! there is no folder "),
        (format!("1 {here}/x"), "! #1 carries no file"),
        (format!("999 {here}/x"), "! there is no #999 here"),
    ] {
        bob.types(&format!(":save {asked}")).await;
        bob.sees(why).await;
    }
    ann.types(&format!(":recall {seq}")).await;
    bob.sees(&format!("— ann took back #{seq}")).await;
    bob.types(&format!(":save {seq} {here}/x")).await;
    bob.sees(&format!("! #{seq} carries no file")).await;
    assert!(!folder.path().join("x").exists());
}

/// Ann has the group open, which she owns and Bob is in.
pub async fn become_pictures(ann: &mut Chat, bob: &mut Chat) {
    let folder = folder(&[
        ("my cat.png", picture(40, 30)),
        ("notes.txt", b"land".to_vec()),
    ]);
    let here = folder.path().display().to_string();
    for (command, whose) in [(":avatar", "your"), (":group avatar", "the group's")] {
        ann.types(&format!("{command} {here}/my cat.png")).await;
        ann.sees(&format!("* {whose} picture is changed")).await;
        ann.types(&format!("{command} {here}/notes.txt")).await;
        ann.sees("! notes.txt: text/plain is not what image content carries")
            .await;
    }
    bob.sees("— ann changed the avatar").await;
    ann.types(":me").await;
    let line = ann.sees("  avatar    ").await;
    assert!(!line.contains("none"), "{line}");
    for (command, whose) in [(":avatar", "your"), (":group avatar", "the group's")] {
        ann.types(command).await;
        ann.sees(&format!("* {whose} picture is taken away")).await;
    }
    bob.types(&format!(":group avatar {here}/my cat.png")).await;
    bob.sees("(forbidden)").await;
}

#[tokio::test]
async fn a_file_still_leaves_after_the_input_has_ended() {
    let server = TestServer::bare().await;
    let mut fay = Chat::begin(&server, "fay").await;
    let folder = folder(&[("my cat.png", picture(300, 200))]);
    let mut eve = Chat::begin_with(&server, "eve", &["fay"]).await;
    let (file, _) = at(folder.path(), "my cat.png");
    eve.types(&format!(":send {file}")).await;
    eve.ends().await;
    fay.sees("[image my cat.png, 300×200, ").await;
}

#[tokio::test]
async fn a_server_without_media_says_so() {
    let server = TestServer::with(|config| config.media.engine = MediaEngine::None).await;
    Chat::begin(&server, "fay").await;
    let folder = folder(&[("notes.txt", b"land".to_vec())]);
    let mut eve = Chat::begin_with(&server, "eve", &["fay"]).await;
    let (file, _) = at(folder.path(), "notes.txt");
    eve.types(&format!(":send {file}")).await;
    eve.sees("! notes.txt: this deployment keeps no media (unavailable)")
        .await;
    eve.types(":save 1 x").await;
    eve.sees("! nothing was said here yet").await;
}
