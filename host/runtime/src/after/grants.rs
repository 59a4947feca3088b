//! Grants: which abilities beyond tier T0 a plugin has, and for what. As an administrator writes them
//! (`http:host=example.org,kv:bytes=1048576`), as they are kept, and what a binary wants beyond them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Abilities that need a grant, with the keys of their scopes.
const SCOPES: [(&str, &[&str]); 10] = [
    ("directory", &["kind"]),
    ("history", &["conversations", "kind"]),
    ("http", &["host", "private"]),
    ("knowledge", &["base"]),
    ("kv", &["bytes"]),
    ("llm", &["model"]),
    ("metrics", &[]),
    ("random", &[]),
    ("reply", &["kind"]),
    ("send", &["kind"]),
];

/// The kinds of conversations a grant can be held to.
const KINDS: [&str; 3] = ["direct", "group", "self"];

/// The abilities that need a grant.
pub const ABILITIES: [&str; 10] = [
    "directory",
    "history",
    "http",
    "knowledge",
    "kv",
    "llm",
    "metrics",
    "random",
    "reply",
    "send",
];

/// The quota of `kv` where a grant names none, bytes.
const KV_BYTES: u64 = 1 << 20;

/// A text that is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrantError(String);

/// What a plugin may do: abilities, each with its scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Grants {
    /// Reads `ABILITY[:KEY=VALUE],…`; an ability that stands several times has all the scopes.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        let mut grants = Self::default();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (ability, scope) = match item.split_once(':') {
                Some((ability, scope)) => (ability, Some(scope)),
                None => (item, None),
            };
            let Some((_, keys)) = SCOPES.iter().find(|(name, _)| *name == ability) else {
                return Err(GrantError(format!(
                    "{ability} is no ability that is granted; there are {}",
                    ABILITIES.join(", ")
                )));
            };
            let scopes = grants.0.entry(ability.to_owned()).or_default();
            let Some(scope) = scope else {
                continue;
            };
            let known = scope
                .split_once('=')
                .filter(|(key, value)| keys.contains(key) && !value.is_empty());
            let Some((key, value)) = known else {
                return Err(GrantError(match keys {
                    [] => format!("{ability} has no scopes; {scope} is not understood"),
                    keys => format!("{item} is not {ability}:{}=VALUE", keys.join("=VALUE or ")),
                }));
            };
            check(ability, key, value)?;
            scopes
                .entry(key.to_owned())
                .or_default()
                .insert(value.to_owned());
        }
        Ok(grants)
    }

    /// Adds others to these; a quota takes the place of the one before.
    pub fn extend(&mut self, others: Self) {
        for (ability, scopes) in others.0 {
            let own = self.0.entry(ability).or_default();
            for (key, values) in scopes {
                let kept = own.entry(key).or_default();
                if kept.iter().any(|value| value.parse::<u64>().is_ok()) {
                    kept.clear();
                }
                kept.extend(values);
            }
        }
    }

    /// Of these, one ability alone.
    pub fn only(&self, ability: &str) -> Self {
        let scopes = self.0.get_key_value(ability);
        let own = scopes.map(|(name, scopes)| (name.clone(), scopes.clone()));
        Self(own.into_iter().collect())
    }

    /// Takes an ability back; false when it was not there.
    pub fn revoke(&mut self, ability: &str) -> bool {
        self.0.remove(ability).is_some()
    }

    pub fn allows(&self, ability: &str) -> bool {
        self.0.contains_key(ability)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a scope.
    pub fn scope(&self, ability: &str, key: &str) -> impl Iterator<Item = &str> {
        let values = self.0.get(ability).and_then(|scopes| scopes.get(key));
        values.into_iter().flatten().map(String::as_str)
    }

    /// Whether an ability reaches conversations of a kind (`direct`, `group`, `self`): all of them where its grant names none.
    pub fn reaches(&self, ability: &str, kind: &str) -> bool {
        self.allows(ability) && (!self.is_of_kinds(ability) || self.names_kind(ability, kind))
    }

    /// Whether an ability is held to kinds of conversations.
    pub fn is_of_kinds(&self, ability: &str) -> bool {
        self.scope(ability, "kind").next().is_some()
    }

    fn names_kind(&self, ability: &str, kind: &str) -> bool {
        self.scope(ability, "kind").any(|named| named == kind)
    }

    /// The quota of `kv`, bytes of keys and values.
    pub fn kv_bytes(&self) -> u64 {
        self.scope("kv", "bytes")
            .filter_map(|bytes| bytes.parse().ok())
            .max()
            .unwrap_or(KV_BYTES)
    }

    /// Of the abilities a binary imports, those that need a grant and have none, as grants to be filled in.
    pub fn wanted(&self, imports: &[String]) -> Vec<String> {
        let missing = |ability: &&&str| {
            imports.iter().any(|import| import == **ability) && !self.allows(ability)
        };
        let wanted = ABILITIES.iter().filter(missing);
        wanted
            .map(|ability| match *ability {
                "http" => "http:host=HOST".to_owned(),
                "kv" => format!("kv:bytes={KV_BYTES}"),
                other => other.to_owned(),
            })
            .collect()
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items = Vec::new();
        for (ability, scopes) in &self.0 {
            if scopes.is_empty() {
                items.push(ability.clone());
            }
            for (key, values) in scopes {
                items.extend(
                    values
                        .iter()
                        .map(|value| format!("{ability}:{key}={value}")),
                );
            }
        }
        f.write_str(&items.join(","))
    }
}

fn check(ability: &str, key: &str, value: &str) -> Result<(), GrantError> {
    let good = match (ability, key) {
        ("kv", "bytes") => value.parse::<u64>().is_ok(),
        ("history", "conversations") => value == "all",
        (_, "kind") => KINDS.contains(&value),
        ("http", _) => is_host(value),
        ("knowledge" | "llm", _) => is_name(value),
        _ => true,
    };
    if good {
        return Ok(());
    }
    Err(GrantError(match (ability, key) {
        (_, "kind") => format!(
            "{ability}:kind={value}: conversations are of the kind {}",
            KINDS.join(", ")
        ),
        ("kv", _) => format!("kv:bytes={value}: a number of bytes is wanted"),
        ("history", _) => format!("history:conversations={value}: only `all` can be granted"),
        ("knowledge" | "llm", _) => format!("{ability}:{key}={value} is no name"),
        _ => format!(
            "{ability}:{key}={value} is not a host, such as example.org, example.org:8443 or http://10.0.0.7:80"
        ),
    }))
}

/// A name an administrator has given to a model or a knowledge base.
fn is_name(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    value.len() <= 128 && value.chars().all(plain)
}

/// `[http://|https://]HOST[:PORT]`, nothing behind it.
fn is_host(value: &str) -> bool {
    let bare = value
        .strip_prefix("http://")
        .or_else(|| value.strip_prefix("https://"))
        .unwrap_or(value);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    !bare.is_empty() && bare.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_they_are_written() {
        let text = "http:host=example.org,http:private=http://127.0.0.1:8080,kv:bytes=10,random";
        let grants = Grants::parse(text).expect("grants");
        assert_eq!(grants.to_string(), text);
        assert_eq!(grants.kv_bytes(), 10);
        assert!(grants.allows("random") && !grants.allows("send"));
        let kept = serde_json::to_string(&grants).expect("it encodes");
        assert_eq!(serde_json::from_str::<Grants>(&kept).ok(), Some(grants));
    }

    #[test]
    fn what_is_no_grant_is_named() {
        for wrong in [
            "moon",
            "http:host=",
            "http:path=/x",
            "http:host=a/b",
            "kv:bytes=many",
            "random:bytes=3",
            "history:conversations=some",
            "history:kind=all",
            "send:kind=",
            "kv:kind=group",
            "llm:tokens=5",
            "llm:model=a b",
            "knowledge:base=",
        ] {
            assert!(Grants::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grant_that_names_kinds_reaches_no_other_one() {
        let mut grants = Grants::parse("history,send:kind=group").expect("grants");
        assert!(grants.reaches("history", "direct") && !grants.is_of_kinds("history"));
        assert!(grants.reaches("send", "group") && !grants.reaches("send", "direct"));
        assert!(!grants.reaches("reply", "group"), "it is not granted");
        grants.extend(Grants::parse("send:kind=self").expect("a grant"));
        assert!(grants.reaches("send", "self") && !grants.reaches("send", "direct"));
        assert_eq!(grants.to_string(), "history,send:kind=group,send:kind=self");
    }

    #[test]
    fn wanted_is_what_is_imported_and_not_granted() {
        let imports = ["log", "http", "kv", "types"].map(str::to_owned);
        let mut grants = Grants::default();
        assert_eq!(
            grants.wanted(&imports),
            ["http:host=HOST", "kv:bytes=1048576"]
        );
        grants.extend(Grants::parse("http:host=a.example").expect("a grant"));
        assert_eq!(grants.wanted(&imports), ["kv:bytes=1048576"]);
        grants.extend(Grants::parse("http:host=b.example,kv:bytes=7").expect("grants"));
        grants.extend(Grants::parse("kv:bytes=5").expect("a grant"));
        let all = "http:host=a.example,http:host=b.example,kv:bytes=5";
        assert_eq!(grants.to_string(), all);
        assert!(grants.revoke("http") && !grants.revoke("http"));
    }

    #[test]
    fn each_ability_is_wanted_until_it_is_granted_and_denied_when_it_is_taken_back() {
        for (ability, (listed, _)) in ABILITIES.iter().zip(SCOPES) {
            assert_eq!(*ability, listed, "the two lists go together");
            let imports = [(*ability).to_owned()];
            let mut grants = Grants::default();
            let wanted = grants.wanted(&imports);
            assert_eq!(wanted.len(), 1, "{ability}");
            let filled = wanted[0].replace("HOST", "example.org");
            grants.extend(Grants::parse(&filled).expect("what is wanted can be granted"));
            assert!(grants.allows(ability) && grants.wanted(&imports).is_empty());
            assert!(grants.revoke(ability) && !grants.allows(ability));
            assert_eq!(grants.wanted(&imports), wanted);
        }
    }
}
