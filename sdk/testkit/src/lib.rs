//! Run a built component in a plain `#[test]`, under the limits a server has.
//!
//! ```no_run
//! let plugin = kith_testkit::load("target/my-filter-0.1.0.wasm", serde_json::json!({"word": "pear"}))?;
//! assert_eq!(plugin.scan("a pear")?[0].level, kith_testkit::Level::Mask);
//! # Ok::<(), kith_testkit::Error>(())
//! ```

use std::path::{Path, PathBuf};

use kith_runtime::{
    Binding, Command, Fact, Generation, HoldCause, Hook, Runtime, Scope, Settings, Text, Verdict,
    read_plain_content,
};
pub use kith_runtime::{FoundHit, Inspection, Level};
use tempfile::TempDir;

/// Why a component could not be run, as a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// A command for `message-strategy`; what is left out is empty. See `wit/v1/message-strategy.wit` for each field.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    pub operation: &'a str,
    /// `direct`, `group` or `self`; empty is `direct`.
    pub conversation_kind: &'a str,
    pub sender: &'a str,
    pub sender_role: &'a str,
    pub peer: &'a str,
    pub peer_role: &'a str,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub muted: bool,
    pub unanswered: u32,
    pub answered: bool,
    pub content_type: &'a str,
    pub text: &'a str,
    pub at_ms: u64,
    pub target_sender: &'a str,
    pub target_age_ms: u64,
    /// By name.
    pub facts: &'a [(&'a str, &'a str)],
}

/// A component under one configuration.
pub struct Plugin {
    generation: Generation,
    inspection: Inspection,
    /// The code cache; taken away with the plugin.
    _cache: TempDir,
}

/// Loads a component file under a configuration, as a server would.
pub fn load(file: impl AsRef<Path>, config: serde_json::Value) -> Result<Plugin, Error> {
    let file = file.as_ref();
    let wrong = |what: &dyn std::fmt::Display| Error(format!("{}: {what}", file.display()));
    let component = std::fs::read(file).map_err(|error| wrong(&error))?;
    let cache = tempfile::tempdir().map_err(|error| wrong(&error))?;
    let runtime = Runtime::new(Settings::new(cache.path())).map_err(|error| wrong(&error))?;
    let version = runtime
        .prepare(&component, &config)
        .map_err(|error| wrong(&error))?;
    let bindings = Hook::ALL
        .into_iter()
        .filter_map(|hook| Binding::as_wished(&version, hook));
    let generation = Generation::new(1, bindings.collect());
    Ok(Plugin {
        generation,
        inspection: version.inspection().clone(),
        _cache: cache,
    })
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
    folder.join(format!("{name}.wasm"))
}

impl Plugin {
    /// What the component says it is.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
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

    /// The code its `message-strategy` refuses a command with; `None` when the command may go on.
    pub fn decide(&self, ask: &Ask<'_>) -> Result<Option<String>, Error> {
        let (scope, conversation_kind) = match ask.conversation_kind {
            "group" => (Scope::Group, "group"),
            "self" => (Scope::Own, "self"),
            _ => (Scope::Direct, "direct"),
        };
        let facts: Vec<_> = ask
            .facts
            .iter()
            .map(|&(name, value)| Fact { name, value })
            .collect();
        let command = Command {
            operation: ask.operation,
            conversation: "",
            conversation_kind,
            sender: ask.sender,
            sender_role: ask.sender_role,
            peer: ask.peer,
            peer_role: ask.peer_role,
            blocked: ask.blocked,
            blocking: ask.blocking,
            friends: ask.friends,
            muted: ask.muted,
            unanswered: ask.unanswered,
            answered: ask.answered,
            content_type: ask.content_type,
            text: ask.text,
            at_ms: ask.at_ms,
            target_sender: ask.target_sender,
            target_age_ms: ask.target_age_ms,
            recent: &[],
            facts: &facts,
        };
        let ruling = self
            .generation
            .strategy(scope, &command, &read_plain_content);
        match ruling.verdict {
            Verdict::Pass => Ok(None),
            Verdict::Hold {
                reason,
                cause: HoldCause::Failed,
                ..
            }
            | Verdict::Unavailable { reason, .. } => {
                Err(Error(format!("the call failed: {}", reason.text)))
            }
            Verdict::Reject { reason, .. }
            | Verdict::Hold { reason, .. }
            | Verdict::Drop { reason, .. } => Ok(Some(reason.code)),
        }
    }
}
