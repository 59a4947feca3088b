//! Language models and the knowledge base from a plugin's side: the same plugin in three languages holds the same fixtures,
//! which have no such service, and those that do not grant it.

use std::path::Path;

use kith::guest::{self, Language};
use parking_lot::Mutex;

use super::BUILDING;

const RUST: &str = r###"//! Asks the services.
use kith_plugin::{Event, HookDefault, Plugin, Responder, Retry, ability, service};

pub struct Asker;

impl Plugin for Asker {
    const SUMMARY: &'static str = "Asks the services.";
    const CONFIG_SCHEMA: &'static str = r##"{"type": "object", "properties": {}}"##;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("responder")]
    }

    fn configure(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}

fn told<T>(asked: Result<T, service::Error>) -> &'static str {
    match asked {
        Ok(_) => "answered",
        Err(service::Error::NotConfigured(_)) => "not-configured",
        Err(service::Error::Denied(_)) => "denied",
        Err(_) => "another error",
    }
}

impl Responder for Asker {
    fn respond(&self, event: &Event, _: &str) -> Result<(), Retry> {
        let messages = vec![("user".to_owned(), event.text.clone())];
        let prompt = service::Prompt { messages, ..Default::default() };
        let model = told(service::llm_open(&prompt));
        let base = told(service::search("", &event.text, 3));
        let said = ability::reply_open().and_then(|reply| {
            ability::reply_write(reply, &format!("{model}, {base}"))?;
            ability::reply_finish(reply)
        });
        said.map(drop).map_err(|error| Retry::after_ms(1000, error.to_string()))
    }
}

kith_plugin::register_plugin!(Asker: responder);
"###;

const JAVASCRIPT: &str = r#"//! Asks the services.
import { AbilityError, Plugin, knowledge, llm, reply } from "kith-plugin";

function told(ask) {
  try {
    ask();
    return "answered";
  } catch (error) {
    return error instanceof AbilityError ? error.kind : "another error";
  }
}

export default class extends Plugin {
  static configSchema = { type: "object", properties: {} };

  respond({ text }) {
    const model = told(() => llm.open({ messages: [{ role: "user", text }] }));
    reply.say(`${model}, ${told(() => knowledge.search(text, { limit: 3 }))}`);
  }
}
"#;

const PYTHON: &str = r#""""Asks the services."""
from kith_plugin import AbilityError, Event, Message, Prompt, Responder, knowledge, llm, reply


def told(ask) -> str:
    try:
        ask()
        return "answered"
    except AbilityError as error:
        return error.kind


class Asker(Responder):
    config_schema = {"type": "object", "properties": {}}

    def respond(self, event: Event, account: str) -> None:
        model = told(lambda: llm.open(Prompt([Message("user", event.text)])))
        base = told(lambda: knowledge.search(event.text, limit=3))
        reply.say(f"{model}, {base}")
"#;

const FIXTURES: [(&str, &str); 3] = [
    (
        "no-service",
        r#"{"respond": {"text": "hello"}, "account": "helper", "did": {"replies": ["not-configured, not-configured"]}}"#,
    ),
    (
        "no-grant",
        r#"{"respond": {"text": "hello"}, "account": "helper", "host": {"grants": "reply"}, "did": {"replies": ["denied, denied"]}}"#,
    ),
    (
        "one-grant",
        r#"{"respond": {"text": "hello"}, "account": "helper", "host": {"grants": "reply,llm"}, "did": {"replies": ["not-configured, denied"]}}"#,
    ),
];

/// The plugin in a language, with the fixtures that all of them hold.
fn holds(language: Language, (source, text): (&str, &str), manifest: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("asker");
    guest::scaffold(&folder, language, &["responder".to_owned()]).expect("a new project");
    std::fs::write(folder.join(source), text).expect("written");
    if let Some(manifest) = manifest {
        let file = folder.join(manifest);
        let text = std::fs::read_to_string(&file).expect("the manifest");
        let wider = text.replace(r#"["reply"]"#, r#"["knowledge", "llm", "reply"]"#);
        assert_ne!(text, wider, "{text}");
        std::fs::write(&file, wider).expect("written");
    }
    let fixtures = folder.join("fixtures");
    std::fs::remove_dir_all(&fixtures).expect("the template's own");
    std::fs::create_dir(&fixtures).expect("a folder");
    for (name, text) in FIXTURES {
        std::fs::write(fixtures.join(format!("{name}.json")), text).expect("written");
    }
    tested(&folder);
}

fn tested(folder: &Path) {
    let _one = BUILDING.lock();
    let built = guest::build(folder, None, None, &|_| {}).expect("it builds");
    for ability in ["knowledge", "llm", "reply"] {
        let imports = &built.inspection.abilities;
        assert!(imports.iter().any(|own| own == ability), "{imports:?}");
    }
    let told = Mutex::new(Vec::new());
    let tested = guest::test(folder, &built.file, false, &|line| {
        told.lock().push(line.to_owned());
    });
    let told = told.into_inner().join("\n");
    assert!(tested.is_ok_and(|tested| tested.check().is_ok()), "{told}");
    assert!(told.contains("3 passed, 0 failed"), "{told}");
}

#[test]
fn a_plugin_in_rust_is_told_that_a_service_is_not_configured() {
    holds(Language::Rust, ("src/lib.rs", RUST), None);
}

#[test]
fn a_plugin_in_javascript_is_told_that_a_service_is_not_configured() {
    let source = ("src/plugin.js", JAVASCRIPT);
    holds(Language::Javascript, source, Some("package.json"));
}

#[test]
fn a_plugin_in_python_is_told_that_a_service_is_not_configured() {
    holds(
        Language::Python,
        ("src/asker.py", PYTHON),
        Some("pyproject.toml"),
    );
}
