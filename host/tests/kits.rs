//! The kits for plugin authors in three languages: their own tests, the same fixtures held by the same plugin in each, and
//! the first-party plugins that are not in Rust. Components are built by the command any author uses.

mod baseline;
mod first_party;
mod services;
mod upgrade;

use std::path::{Path, PathBuf};
use std::process::Command;

use kith::guest::{self, Language};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// One build at a time: two would only share the machine.
static BUILDING: Mutex<()> = Mutex::new(());

pub fn top() -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    host.parent().expect("the repository").to_owned()
}

/// Runs a program to its end; what it printed is told when it fails.
fn passes(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?}:\n{}",
        String::from_utf8_lossy(&told)
    );
}

fn node_tests(folder: &Path) {
    passes(Command::new("node").arg("--test").current_dir(folder));
}

/// A JavaScript project's dependency on the kit; nothing is fetched for it.
fn npm_install(folder: &Path) {
    let mut npm = Command::new("npm");
    npm.args(["install", "--offline", "--no-package-lock", "--no-audit"]);
    passes(npm.args(["--no-fund", "--silent"]).current_dir(folder));
}

fn python_tests(folder: &Path, path: &[PathBuf]) {
    let path = std::env::join_paths(path).expect("a path");
    let mut python = Command::new("python3");
    python.args(["-m", "unittest", "discover", "tests"]);
    passes(
        python
            .current_dir(folder)
            .env("PYTHONPATH", path)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    );
}

#[test]
fn the_kit_for_javascript_passes_its_own_tests() {
    node_tests(&top().join("sdk/js"));
}

#[test]
fn the_kit_for_python_passes_its_own_tests() {
    let kit = top().join("sdk/python");
    python_tests(&kit, std::slice::from_ref(&kit));
}

/// A new plugin with every hook: its tests pass as they are, and its fixtures on the component.
fn new_plugin(language: Language, own_tests: impl Fn(&Path)) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("my-plugin");
    let hooks = guest::HOOKS.map(str::to_owned);
    guest::scaffold(&folder, language, &hooks).expect("a new project");
    own_tests(&folder);
    let _one = BUILDING.lock();
    let steps = Mutex::new(Vec::new());
    let built = guest::build(&folder, None, Some("two"), &|step| {
        steps.lock().push(step.to_owned());
    });
    let built = built.expect("it builds");
    assert_eq!(built.inspection.version, "0.1.0-two");
    let steps = steps.into_inner().join("\n");
    // The others are told of only where they are not in the cache.
    assert!(
        language != Language::Rust || steps.contains("0.1.0-two"),
        "{steps}"
    );
    let mut exported: Vec<_> = built
        .inspection
        .hooks
        .iter()
        .map(|hook| hook.as_str())
        .collect();
    let mut wanted = guest::HOOKS.to_vec();
    exported.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(exported, wanted);
    let told = Mutex::new(Vec::new());
    let tested = guest::test(&folder, &built.file, false, &|line| {
        told.lock().push(line.to_owned());
    });
    let told = told.into_inner().join("\n");
    assert!(tested.is_ok_and(|tested| tested.check().is_ok()), "{told}");
    assert!(told.contains("9 passed, 0 failed"), "{told}");
}

#[test]
fn a_new_plugin_in_rust_holds_the_fixtures_of_every_hook() {
    new_plugin(Language::Rust, |folder| {
        // Its unit tests with a target of its own would compile the kit anew; the kit and the fixtures cover them.
        assert!(folder.join("src/lib.rs").is_file());
    });
}

#[test]
fn a_new_plugin_in_javascript_holds_the_fixtures_of_every_hook() {
    new_plugin(Language::Javascript, |folder| {
        npm_install(folder);
        node_tests(folder);
    });
}

#[test]
fn a_new_plugin_in_python_holds_the_fixtures_of_every_hook() {
    new_plugin(Language::Python, |folder| {
        python_tests(
            folder,
            &[folder.join("src"), folder.join("kith/sdk/python")],
        );
    });
}

#[test]
fn a_new_plugin_of_one_hook_has_that_hook_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    for language in [Language::Rust, Language::Javascript, Language::Python] {
        for hook in guest::HOOKS {
            let folder = folder
                .path()
                .join(format!("{language:?}-{hook}").to_lowercase());
            guest::scaffold(&folder, language, &[hook.to_owned()]).expect("a new project");
            let fixtures = folder.join("fixtures").read_dir().expect("fixtures");
            assert!(fixtures.count() > 0, "{language:?} {hook}");
            for file in ["src/lib.rs", "src/plugin.js", "package.json", "README.md"] {
                let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
                assert!(!text.contains("{{"), "{language:?} {hook} {file}: {text}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_a_project_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |name: &str, hook: &str| {
        let made = guest::scaffold(
            &folder.path().join(name),
            Language::Python,
            &[hook.to_owned()],
        );
        made.expect_err("it is refused").to_string()
    };
    assert!(refused("Upper", "observer").contains("is no plugin's name"));
    assert!(refused("good", "observe").contains("there is no hook observe"));
    assert!(refused("", "observer").contains("is no plugin's name"));
    let empty = guest::build(folder.path(), None, None, &|_| {});
    let empty = empty.expect_err("no plugin is there").to_string();
    assert!(
        empty.contains("no Cargo.toml, package.json or pyproject.toml"),
        "{empty}"
    );
}

#[test]
fn a_filter_for_groups_alone_is_tried_in_a_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("grouped");
    guest::scaffold(
        &folder,
        Language::Javascript,
        &["content-filter".to_owned()],
    )
    .expect("made");
    let manifest = folder.join("package.json");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let wished = text.replace(
        "[\"content-filter\"]",
        "{\"content-filter\": {\"scope\": \"group\"}}",
    );
    assert_ne!(text, wished, "{text}");
    std::fs::write(&manifest, wished).expect("written");
    let _one = BUILDING.lock();
    let built = guest::build(&folder, None, None, &|_| {}).expect("it builds");
    let told = Mutex::new(Vec::new());
    let test = || {
        let tested = guest::test(&folder, &built.file, false, &|line| {
            told.lock().push(line.to_owned())
        });
        tested.and_then(|tested| tested.check())
    };
    assert!(test().is_ok(), "{:?}", told.lock());
    let direct =
        r#"{"conversation_kind": "direct", "scan": ["a banana"], "hits": [[[2, 8, "mask"]]]}"#;
    std::fs::write(folder.join("fixtures/direct.json"), direct).expect("written");
    assert!(test().is_err(), "{:?}", told.lock());
    let told = told.lock().join("\n");
    assert!(
        told.contains("FAILED  direct: the filter is not asked there"),
        "{told}"
    );
}

#[test]
fn a_python_plugin_that_does_not_import_is_told_in_its_own_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("lost");
    guest::scaffold(&folder, Language::Python, &["content-filter".to_owned()]).expect("made");
    let source = folder.join("src/lost.py");
    let text = std::fs::read_to_string(&source).expect("the plugin");
    std::fs::write(&source, format!("import nowhere\n{text}")).expect("written");
    let _one = BUILDING.lock();
    let refused = guest::build(&folder, None, None, &|_| {}).expect_err("it does not build");
    let refused = format!("{refused:#}");
    assert!(refused.contains("No module named 'nowhere'"), "{refused}");
    for noise in ["backtrace", "Caused by", "site-packages"] {
        assert!(!refused.contains(noise), "{refused}");
    }
}

#[test]
fn a_replay_file_that_is_not_there_is_missed_before_anything_is_built() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut kith = Command::new(crate::crash::process::program());
    kith.args(["plugin", "test", "--replay", "nofile.json"]);
    let output = kith.arg(folder.path()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("cannot read nofile.json"), "{told}");
}

#[test]
fn a_manifest_that_does_not_fit_its_class_is_an_error_of_the_build() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("wrong");
    guest::scaffold(&folder, Language::Javascript, &["command".to_owned()]).expect("a project");
    let manifest = folder.join("package.json");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let build = |text: &str| {
        std::fs::write(&manifest, text).expect("written");
        let _one = BUILDING.lock();
        let built = guest::build(&folder, None, None, &|_| {});
        built.expect_err("it does not build").to_string()
    };
    let other = build(&text.replace("\"command\"", "\"observer\""));
    assert!(other.contains("does not name the hook command"), "{other}");
    let unknown = build(&text.replace("\"command\"", "\"commands\""));
    assert!(unknown.contains("there is no hook commands"), "{unknown}");
    let ability = build(&text.replace("\"abilities\": []", "\"abilities\": [\"files\"]"));
    assert!(ability.contains("there is no ability files"), "{ability}");
}

/// An author's command; its status, and what it printed, which is JSON and nothing else.
fn author(arguments: &[&str]) -> (Option<i32>, Value) {
    let mut kith = Command::new(crate::crash::process::program());
    let output = kith.arg("plugin").args(arguments).arg("--json").output();
    let output = output.expect("the program runs");
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{arguments:?}: {error}: {said}")
    });
    (output.status.code(), printed)
}

#[test]
fn what_an_authors_commands_print_can_be_read_by_a_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("my-plugin");
    let path = folder.to_str().expect("a path of text");
    let hooks = ["--hook", "command", "--hook", "content-filter"];
    let made = author(&[&["new", path], &hooks[..]].concat());
    let wanted = json!({
        "name": "my-plugin", "folder": path, "lang": "rust", "hooks": ["content-filter", "command"],
    });
    assert_eq!(made, (Some(0), wanted));

    let _one = BUILDING.lock();
    let (status, built) = author(&["build", path]);
    assert_eq!(status, Some(0), "{built}");
    let file = built["file"].as_str().expect("a file");
    let component = std::fs::read(file).expect("the component");
    let wanted = json!({
        "name": "my-plugin", "version": "0.1.0", "file": file,
        "digest": kith::oci::Digest::of(&component).as_str(),
    });
    assert_eq!(built, wanted);

    let (status, tested) = author(&["test", path]);
    assert_eq!(status, Some(0), "{tested}");
    let cases = tested["cases"].as_array().expect("cases");
    assert_eq!(
        (&tested["failed"], &tested["passed"]),
        (&json!(0), &json!(cases.len()))
    );
    assert!(cases.len() > 1, "{tested}");
    for case in cases {
        assert!(case["name"].is_string() && case["passed"] == true, "{case}");
        for measured in ["us", "memory_kib", "load_ms"] {
            assert!(case[measured].is_u64(), "{case}");
        }
    }

    // One that does not hold is in it too, and the status says so.
    let wrong = json!({"scan": ["nothing is hit here"], "hits": [[[0, 7, "mask"]]]});
    let fixture = folder.join("fixtures/a-wrong-one.json");
    std::fs::write(fixture, wrong.to_string()).expect("written");
    let (status, tested) = author(&["test", path]);
    assert_eq!(
        (status, &tested["failed"]),
        (Some(1), &json!(1)),
        "{tested}"
    );
    let case = &tested["cases"][0];
    assert_eq!(
        (&case["name"], &case["passed"]),
        (&json!("a-wrong-one"), &json!(false))
    );
    assert!(
        case["why"]
            .as_str()
            .is_some_and(|why| why.contains("expected")),
        "{case}"
    );
}
