//! The baseline by the command line: what was written is held,
//! what is worse fails the run, and its author may accept it.

use std::path::Path;
use std::process::Command;

use kith::guest::{self, Language};
use serde_json::json;

use super::{BUILDING, author};
use crate::crash::process::program;

/// One more megabyte in the component and in each of its instances.
fn make_heavier(folder: &Path) {
    let source = folder.join("src/lib.rs");
    let before = std::fs::read_to_string(&source).expect("the plugin");
    let begins = "fn scan(&self, text: &Text) -> Vec<Hit> {";
    let heavier = format!("{begins}\n        std::hint::black_box(&[7_u8; 1 << 20]);");
    let after = before.replace(begins, &heavier);
    assert_ne!(before, after, "{before}");
    std::fs::write(source, after).expect("written");
}

#[test]
fn a_plugin_that_is_worse_than_its_baseline_fails_until_that_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("weighed");
    guest::scaffold(&folder, Language::Rust, &["content-filter".to_owned()]).expect("made");
    let path = folder.to_str().expect("a path of text");
    let kept = folder.join("baseline.json");
    let _one = BUILDING.lock();

    let (status, tested) = author(&["test", path, "--write-baseline"]);
    let wanted = json!(kept.display().to_string());
    assert_eq!(
        (status, &tested["baseline"]),
        (Some(0), &wanted),
        "{tested}"
    );
    let first = std::fs::read_to_string(&kept).expect("the baseline");
    let (status, tested) = author(&["test", path]);
    assert_eq!(
        (status, &tested["worse"]),
        (Some(0), &json!([])),
        "{tested}"
    );

    make_heavier(&folder);
    let (status, tested) = author(&["test", path]);
    assert_eq!(
        (status, &tested["failed"]),
        (Some(1), &json!(0)),
        "{tested}"
    );
    let worse: Vec<&str> = tested["worse"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|told| told.as_str())
        .collect();
    for part in [" KiB of memory, ", "the component has "] {
        let told = worse
            .iter()
            .any(|told| told.contains(part) && told.ends_with(" in the baseline"));
        assert!(told, "{part}: {worse:?}");
    }
    let output = Command::new(program())
        .args(["plugin", "test", path])
        .output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("kith: worse than baseline.json (`--write-baseline` accepts it):\n"),
        "{said}"
    );
    assert!(said.contains(worse[0]), "{said}");
    let unchanged = std::fs::read_to_string(&kept).expect("the baseline");
    assert_eq!(unchanged, first, "a failing run leaves the baseline alone");

    let (status, tested) = author(&["test", path, "--write-baseline"]);
    assert_eq!(
        (status, &tested["worse"]),
        (Some(0), &json!([])),
        "{tested}"
    );
    let (status, tested) = author(&["test", path]);
    assert_eq!(status, Some(0), "{tested}");
}
