//! What becomes of the keys of the version before, in three languages: the same plugin holds the same fixtures.
//! What the host makes of the answers is the business of `state.rs`.

use kith::guest::{self, Language};
use parking_lot::Mutex;

use super::BUILDING;

const RUST: &str = r##"//! Counts.
use kith_plugin::{HookDefault, Kept, Need, Observer, Plugin, Upgrade};

pub struct Counter;

impl Plugin for Counter {
    const SUMMARY: &'static str = "Counts.";
    const CONFIG_SCHEMA: &'static str = r#"{"type": "object", "properties": {}}"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("observer")]
    }

    fn configure(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Observer for Counter {}

impl Upgrade for Counter {
    fn needs(&self, from: &str) -> Result<Need, String> {
        match from.split('.').next() {
            Some("0") => Err(format!("nothing is known of {from}")),
            Some("1") => Ok(Need::Migrate),
            Some("2") => Ok(Need::Rebuild(500)),
            _ => Ok(Need::Compatible),
        }
    }

    fn migrate(&self, _: &str, items: &[Kept]) -> Result<Vec<Kept>, String> {
        Ok(items.iter().flat_map(|item| [item.under(&format!("n/{}", item.key)), Kept::gone(&item.key)]).collect())
    }
}

kith_plugin::register_plugin!(Counter: observer, upgrade);
"##;

const JAVASCRIPT: &str = r#"//! Counts.
import { Kept, Need, Plugin } from "kith-plugin";

export default class extends Plugin {
  static configSchema = { type: "object", properties: {} };

  event() {
    return [];
  }

  needs(from) {
    switch (from.split(".")[0]) {
      case "0":
        throw new Error(`nothing is known of ${from}`);
      case "1":
        return Need.migrate();
      case "2":
        return Need.rebuild(500);
      default:
        return Need.compatible();
    }
  }

  migrate(_, items) {
    return items.flatMap((item) => [item.under(`n/${item.key}`), Kept.gone(item.key)]);
  }
}
"#;

const PYTHON: &str = r#""""Counts."""
from kith_plugin import Kept, Need, Observer, Upgrade


class Counter(Observer, Upgrade):
    config_schema = {"type": "object", "properties": {}}

    def needs(self, from_version: str) -> Need:
        major = from_version.split(".")[0]
        if major == "0":
            raise ValueError(f"nothing is known of {from_version}")
        return {"1": Need.migrate(), "2": Need.rebuild(500)}.get(major, Need.compatible())

    def migrate(self, from_version: str, items: list[Kept]) -> list[Kept]:
        return [kept for item in items for kept in (item.under(f"n/{item.key}"), Kept.gone(item.key))]
"#;

const FIXTURES: [(&str, &str); 4] = [
    (
        "migrates",
        r#"{"upgrade": {"from": "1.2.0", "items": [{"key": "ann", "value": "3", "ends_at_ms": 7}, {"key": "bob"}]},
            "needs": "migrate", "writes": [{"key": "n/ann", "value": "3", "ends_at_ms": 7}, {"key": "ann"}, {"key": "n/bob"}, {"key": "bob"}]}"#,
    ),
    (
        "rebuilds",
        r#"{"upgrade": {"from": "2.0.0"}, "needs": "rebuild:500"}"#,
    ),
    (
        "goes-on",
        r#"{"upgrade": {"from": "3.0.0", "items": [{"key": "ann", "value": "3"}]}, "needs": "compatible"}"#,
    ),
    (
        "refuses",
        r#"{"upgrade": {"from": "0.1.0"}, "needs": "refuse:nothing is known of 0.1.0"}"#,
    ),
];

/// The plugin in a language; in a manifest `upgrade` stands beside the hooks.
fn holds(language: Language, (source, text): (&str, &str), manifest: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("counter");
    guest::scaffold(&folder, language, &["observer".to_owned()]).expect("a new project");
    std::fs::write(folder.join(source), text).expect("written");
    if let Some(manifest) = manifest {
        let file = folder.join(manifest);
        let text = std::fs::read_to_string(&file).expect("the manifest");
        let both = text.replace(r#"["observer"]"#, r#"["observer", "upgrade"]"#);
        assert_ne!(text, both, "{text}");
        std::fs::write(&file, both).expect("written");
    }
    let fixtures = folder.join("fixtures");
    std::fs::remove_dir_all(&fixtures).expect("the template's own");
    std::fs::create_dir(&fixtures).expect("a folder");
    for (name, text) in FIXTURES {
        std::fs::write(fixtures.join(format!("{name}.json")), text).expect("written");
    }
    let wrong = r#"{"upgrade": {"from": "3.0.0"}, "needs": "migrate"}"#;
    std::fs::write(fixtures.join("wrong.json"), wrong).expect("written");
    let _one = BUILDING.lock();
    let built = guest::build(&folder, None, None, &|_| {}).expect("it builds");
    let told = Mutex::new(Vec::new());
    let tested = guest::test(&folder, &built.file, false, &|line| {
        told.lock().push(line.to_owned());
    });
    let told = told.into_inner().join("\n");
    assert!(tested.is_ok_and(|tested| tested.passed() == 4), "{told}");
    let missed = "wrong: the need is compatible, expected migrate";
    assert!(told.contains(missed), "{told}");
}

#[test]
fn a_version_in_rust_says_what_becomes_of_the_keys_before_it() {
    holds(Language::Rust, ("src/lib.rs", RUST), None);
}

#[test]
fn a_version_in_javascript_says_what_becomes_of_the_keys_before_it() {
    let source = ("src/plugin.js", JAVASCRIPT);
    holds(Language::Javascript, source, Some("package.json"));
}

#[test]
fn a_version_in_python_says_what_becomes_of_the_keys_before_it() {
    let source = ("src/counter.py", PYTHON);
    holds(Language::Python, source, Some("pyproject.toml"));
}
