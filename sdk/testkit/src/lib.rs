//! Run a built component in a plain `#[test]`, under the limits a server has.
//!
//! ```no_run
//! let plugin = kith_testkit::load("target/my-filter-0.1.0.wasm", serde_json::json!({"word": "pear"}))?;
//! assert_eq!(plugin.scan("a pear")?[0].level, kith_testkit::Level::Mask);
//! # Ok::<(), kith_testkit::Error>(())
//! ```
//!
//! What is called after the commit finds a host in memory, and what it did there is told with its answer:
//!
//! ```no_run
//! use kith_testkit::{Around, said};
//! let plugin = kith_testkit::load("target/my-bot-0.1.0.wasm", serde_json::json!({}))?;
//! let called = plugin.respond(&said("hello"), "my-bot", &Around::default())?;
//! assert!(called.answer.is_ok());
//! assert_eq!(called.did.replies, ["You said: hello"]);
//! # Ok::<(), kith_testkit::Error>(())
//! ```

mod after;
mod host;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use after::{Called, said};
pub use host::{Around, Did, Host, Page, SentMessage};
use kith_runtime::{
    Binding, Generation, HoldCause, Hook, Runtime, Scope, Text, Values, ValuesSnapshot, Version,
};
pub use kith_runtime::{
    Command, CommandOutcome, CommandRuling, DirectoryUser, Event, EventFact, Fact, FoundHit,
    HistoryEntry, HttpRequest, Inspection, Invocation, Level, Observed, Occasion, Retry, Rule,
    RuleAct, RuleAction, RuleRuling, Settings, Stats, StrategyRuling, Verdict,
};
use tempfile::TempDir;

/// Why a component could not be run, as a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// A component under one configuration.
pub struct Plugin {
    generation: Generation,
    version: Arc<Version>,
    kept: Arc<Kept>,
    /// The code cache; taken away with the plugin.
    _cache: TempDir,
}

/// Loads a component file under a configuration, as a server would.
pub fn load(file: impl AsRef<Path>, config: serde_json::Value) -> Result<Plugin, Error> {
    load_with(file, config, |_| {})
}

/// As `load`, under limits that are not a server's defaults.
pub fn load_with(
    file: impl AsRef<Path>,
    config: serde_json::Value,
    limit: impl FnOnce(&mut Settings),
) -> Result<Plugin, Error> {
    load_over(file, config, limit, &[])
}

/// As `load`, of a plugin that has written values before: pairs of key and value.
pub fn load_with_values(
    file: impl AsRef<Path>,
    config: serde_json::Value,
    values: &[(&str, &[u8])],
) -> Result<Plugin, Error> {
    load_over(file, config, |_| {}, values)
}

fn load_over(
    file: impl AsRef<Path>,
    config: serde_json::Value,
    limit: impl FnOnce(&mut Settings),
    values: &[(&str, &[u8])],
) -> Result<Plugin, Error> {
    let file = file.as_ref();
    let wrong = |what: &dyn std::fmt::Display| Error(format!("{}: {what}", file.display()));
    let component = std::fs::read(file).map_err(|error| wrong(&error))?;
    let cache = tempfile::tempdir().map_err(|error| wrong(&error))?;
    let mut settings = Settings::new(cache.path());
    limit(&mut settings);
    let kept = values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_vec()));
    let kept = Arc::new(Kept(kept.collect()));
    let runtime = Runtime::with_values(settings, kept.clone()).map_err(|error| wrong(&error))?;
    let version = runtime
        .prepare(&component, &config)
        .map_err(|error| wrong(&error))?;
    let bindings = Hook::ALL
        .into_iter()
        .filter_map(|hook| Binding::as_wished(&version, hook));
    let generation = Generation::new(1, bindings.collect());
    Ok(Plugin {
        generation,
        version,
        kept,
        _cache: cache,
    })
}

/// What the plugin has written.
#[derive(Clone)]
struct Kept(HashMap<String, Vec<u8>>);

impl Values for Kept {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        Ok(Box::new(self.clone()))
    }
}

impl ValuesSnapshot for Kept {
    fn get(&self, _: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(key).cloned())
    }
}

/// A plugin of this repository, built by `cargo xtask build`: from the folder in `KITH_PLUGINS_DIR`, or the one
/// beside the test's own profile.
pub fn built(name: &str) -> PathBuf {
    let set = std::env::var_os("KITH_PLUGINS_DIR").map(PathBuf::from);
    let folder = set.unwrap_or_else(|| {
        let test = std::env::current_exe().unwrap_or_default();
        test.ancestors()
            .nth(2)
            .unwrap_or(Path::new("."))
            .join("plugins")
    });
    let file = format!("{name}.wasm");
    match folder.join(&file) {
        active if active.is_file() => active,
        // What a first start leaves alone.
        _ => folder.join("optional").join(file),
    }
}

/// A text that `ann` sends to `bob`, both of them strangers: to be changed into the command a test is about.
pub fn text_to_a_stranger(text: &str) -> Command<'_> {
    Command {
        operation: "send",
        conversation: "d-ann-bob",
        conversation_kind: "direct",
        sender: "ann",
        sender_role: "member",
        peer: "bob",
        peer_role: "member",
        blocked: false,
        blocking: false,
        friends: false,
        muted: false,
        unanswered: 0,
        answered: false,
        content_type: "text",
        text,
        at_ms: 0,
        target_sender: "",
        target_age_ms: 0,
        recent: &[],
        facts: &[],
    }
}

/// A command that `ann` types to `bob`, both of them strangers.
pub fn typed<'a>(name: &'a str, arguments: &'a str) -> Invocation<'a> {
    Invocation {
        name,
        arguments,
        conversation: "d-ann-bob",
        conversation_kind: "direct",
        sender: "ann",
        sender_role: "member",
        peer: "bob",
        blocked: false,
        blocking: false,
        friends: false,
        mentions: &[],
        reply_to: 0,
        at_ms: 0,
        facts: &[],
    }
}

/// Something that is asked or has happened, about `ann` who comes from 192.0.2.1.
pub fn occasion<'a>(kind: &'a str, what: &'a str) -> Occasion<'a> {
    Occasion {
        kind,
        user: "ann",
        username: "ann",
        actor: "",
        address: "192.0.2.1",
        device: "phone",
        device_kind: "web",
        conversation: "",
        what,
        text: "",
        at_ms: 0,
        facts: &[],
    }
}

fn scope_of(conversation_kind: &str) -> Scope {
    match conversation_kind {
        "group" => Scope::Group,
        "self" => Scope::Own,
        _ => Scope::Direct,
    }
}

impl Plugin {
    /// What the component says it is.
    pub fn inspection(&self) -> &Inspection {
        self.version.inspection()
    }

    /// Whether every instance starts configured from one shared image.
    pub fn is_baked(&self) -> bool {
        self.version.is_baked()
    }

    /// Makes this many instances at once and keeps them idle.
    pub fn warm_up(&self, instances: usize) -> Result<(), Error> {
        let made = self.version.warm_up(instances);
        made.map_err(|failure| Error(failure.to_string()))
    }

    /// What it did since it was loaded.
    pub fn stats(&self) -> Stats {
        self.version.stats()
    }

    /// What its `message-strategy` says to a command.
    pub fn decide(&self, command: &Command<'_>) -> Result<StrategyRuling, Error> {
        let scope = scope_of(command.conversation_kind);
        let read = &kith_runtime::read_plain_content;
        let ruling = self.generation.strategy(scope, command, read);
        match ruling.verdict {
            Verdict::Unavailable { reason, .. } => {
                Err(Error(format!("the call failed: {}", reason.text)))
            }
            _ => Ok(ruling),
        }
    }

    /// The commands it answers, with what each does.
    pub fn commands(&self) -> Vec<(&str, &str)> {
        self.version.commands().collect()
    }

    /// What its `command` answers.
    pub fn run(&self, invocation: &Invocation<'_>) -> Result<CommandRuling, Error> {
        let scope = scope_of(invocation.conversation_kind);
        let read = &kith_runtime::read_plain_content;
        let ruling = self.generation.command(scope, invocation, read);
        match ruling.outcome {
            CommandOutcome::Unavailable { reason, .. } => {
                Err(Error(format!("the call failed: {}", reason.text)))
            }
            _ if ruling.records.is_empty() => {
                Err(Error(format!("it has no command {}", invocation.name)))
            }
            _ => Ok(ruling),
        }
    }

    /// What its `admin-rule` says on an occasion.
    pub fn rule(&self, occasion: &Occasion<'_>) -> Result<RuleRuling, Error> {
        let ruling = self.generation.rule(occasion, true);
        match ruling.rule {
            Rule::Unavailable { reason, .. } => {
                Err(Error(format!("the call failed: {}", reason.text)))
            }
            _ => Ok(ruling),
        }
    }

    /// The hits of its `content-filter` in one message text.
    pub fn scan(&self, text: &str) -> Result<Vec<FoundHit>, Error> {
        let ruling = self.generation.filter(
            Scope::Direct,
            &[Text {
                place: "message",
                text,
            }],
            0,
        );
        match ruling.verdict {
            Verdict::Hold {
                reason,
                cause: HoldCause::Failed,
                ..
            }
            | Verdict::Unavailable { reason, .. } => {
                Err(Error(format!("the call failed: {}", reason.text)))
            }
            _ => Ok(ruling.hits),
        }
    }
}
