//! Steps: who changes what serves, from what to what. Each is a line of the audit log, stored together with the generation
//! it makes.

use serde_json::{Map, Value};

use crate::plugins::bindings::VersionRef;
use crate::store::accounts::AuditLine;

/// The name in the audit log of what the host does by itself.
pub(super) const HOST: &str = "kith";

/// A change, as the audit log tells it.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Why the generation is there.
    pub cause: String,
    lines: Vec<AuditLine>,
}

impl From<&str> for Step {
    /// One that is told in the audit log by whoever asked for it.
    fn from(cause: &str) -> Self {
        Self {
            cause: cause.to_owned(),
            lines: Vec::new(),
        }
    }
}

impl From<&String> for Step {
    fn from(cause: &String) -> Self {
        Self::from(cause.as_str())
    }
}

impl Step {
    /// A step of somebody, about a plugin.
    pub fn of(by: &str, action: &str, plugin: &str) -> Self {
        Self {
            cause: format!("{action} {plugin}"),
            lines: vec![AuditLine {
                actor: by.to_owned(),
                action: action.to_owned(),
                subject: plugin.to_owned(),
                ..AuditLine::default()
            }],
        }
    }

    /// Another word for why the generation is there.
    pub fn because(mut self, cause: String) -> Self {
        self.cause = cause;
        self
    }

    pub fn before(mut self, version: Option<&VersionRef>) -> Self {
        if let Some(line) = self.lines.last_mut() {
            line.from = version.map(|version| version.version.clone());
        }
        self
    }

    pub fn after(mut self, version: Option<&VersionRef>) -> Self {
        if let Some(line) = self.lines.last_mut() {
            line.to = version.map(|version| version.version.clone());
        }
        match version {
            Some(version) => self.with("digest", version.digest.as_str()),
            None => self,
        }
    }

    /// Something more about it.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Some(line) = self.lines.last_mut() {
            let detail = line.detail.get_or_insert_with(|| Value::Object(Map::new()));
            detail[field] = value.into();
        }
        self
    }

    /// One step with another that it brings about.
    pub fn and(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        self
    }

    /// As lines; `generation` is the one it makes, if any.
    pub fn lines(self, at: u64, generation: Option<u64>) -> Vec<AuditLine> {
        let dated = self.lines.into_iter().map(|mut line| {
            line.at = at;
            if let Some(generation) = generation {
                let detail = line.detail.get_or_insert_with(|| Value::Object(Map::new()));
                detail["generation"] = generation.into();
            }
            line
        });
        dated.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_says_who_what_from_and_to() {
        let version = |number: &str| VersionRef {
            version: number.to_owned(),
            digest: format!("sha256:{number}"),
        };
        let end = Step::of("ann", "plugin.canary.end", "words").before(Some(&version("2")));
        let step = Step::of("ann", "plugin.activate", "words")
            .before(Some(&version("1")))
            .after(Some(&version("2")))
            .and(end);
        let lines = step.lines(7, Some(3));
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    line.action.as_str(),
                    line.from.as_deref(),
                    line.to.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("plugin.activate", Some("1"), Some("2")),
                ("plugin.canary.end", Some("2"), None)
            ]
        );
        assert!(lines.iter().all(|line| line.at == 7 && line.actor == "ann"));
        let detail = json!({"digest": "sha256:2", "generation": 3});
        assert_eq!(lines[0].detail, Some(detail));
        assert!(Step::from("config words").lines(7, Some(3)).is_empty());
    }
}
