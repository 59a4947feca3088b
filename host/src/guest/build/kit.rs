//! What a plugin in a scripting language says of itself: name, version, hooks, abilities, where its kit is; and the WIT
//! world that follows from it. Reads manifests and writes a world; runs nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// The hooks a manifest may name.
const HOOKS: [&str; 6] = [
    "admin-rule",
    "command",
    "content-filter",
    "message-strategy",
    "observer",
    "responder",
];
/// What a manifest may say of a hook, in snake case.
const WISHES: [&str; 6] = [
    "budget_us",
    "on_absent",
    "on_failed",
    "order",
    "recent",
    "scope",
];
/// The abilities a manifest may name; `log` is always there.
const ABILITIES: [&str; 13] = [
    "clock",
    "directory",
    "history",
    "http",
    "knowledge",
    "kv",
    "kv-snapshot",
    "llm",
    "metrics",
    "random",
    "reply",
    "send",
    "config",
];
/// The contract's version, as its packages name it.
const CONTRACT: &str = "1.0.0";

/// What a manifest says.
#[derive(Debug)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub summary: String,
    /// With `log`, sorted.
    pub abilities: Vec<String>,
    pub hooks: Hooks,
    /// The kit's folder; `wit/v1` stands two above it.
    pub kit: PathBuf,
}

/// The interfaces a plugin has.
#[derive(Debug)]
pub struct Hooks {
    /// With what is wished of each, in snake case.
    pub wished: Map<String, Value>,
    /// `preparation` is exported too.
    pub prepares: bool,
    /// `schedules` is exported too.
    pub schedules: bool,
    /// `upgrade` is exported too.
    pub upgrade: bool,
}

/// What stands in the manifest as `kith`, checked; hooks are a list of names or a table.
pub struct Said<'a> {
    pub file: &'static str,
    pub hooks: Option<&'a Value>,
    pub abilities: Option<&'a Value>,
}

impl Said<'_> {
    pub fn hooks(&self) -> Result<Hooks> {
        let mut named: Map<String, Value> = match self.hooks {
            Some(Value::Object(table)) => table.clone(),
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .map(|name| (name.to_owned(), Value::Object(Map::new())))
                .collect(),
            _ => bail!("{} names no hooks: one of {}", self.file, HOOKS.join(", ")),
        };
        let prepares = named.remove("preparation").is_some();
        let schedules = named.remove("schedules").is_some();
        let upgrade = named.remove("upgrade").is_some();
        if named.is_empty() {
            bail!("{} names no hooks: one of {}", self.file, HOOKS.join(", "));
        }
        let mut all = Map::new();
        for (hook, wished) in named {
            if !HOOKS.contains(&hook.as_str()) {
                bail!(
                    "{}: there is no hook {hook}; there are {}",
                    self.file,
                    HOOKS.join(", ")
                );
            }
            let Value::Object(wished) = wished else {
                bail!("{}: what is said of the hook {hook} is no table", self.file);
            };
            let wished: Map<String, Value> = wished
                .into_iter()
                .map(|(key, value)| (snake(&key), value))
                .collect();
            if let Some(unknown) = wished.keys().find(|key| !WISHES.contains(&key.as_str())) {
                bail!(
                    "{}: a hook has no {unknown}; it has {}",
                    self.file,
                    WISHES.join(", ")
                );
            }
            all.insert(hook, Value::Object(wished));
        }
        Ok(Hooks {
            wished: all,
            prepares,
            schedules,
            upgrade,
        })
    }

    /// The abilities, `log` among them.
    pub fn abilities(&self) -> Result<Vec<String>> {
        let mut abilities = vec!["log".to_owned()];
        let named = match self.abilities {
            None => return Ok(abilities),
            Some(Value::Array(named)) => named,
            Some(_) => bail!("{}: abilities is no list", self.file),
        };
        for ability in named.iter().filter_map(Value::as_str) {
            if ability != "log" && !ABILITIES.contains(&ability) {
                bail!(
                    "{}: there is no ability {ability}; there are {}",
                    self.file,
                    ABILITIES.join(", ")
                );
            }
            abilities.push(ability.to_owned());
        }
        abilities.sort();
        abilities.dedup();
        Ok(abilities)
    }
}

/// `onFailed` as `on_failed`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// `on_failed` as `onFailed`, `content-filter` as `contentFilter`.
pub fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.chars() {
        if c == '_' || c == '-' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            out.push(c.to_ascii_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

impl Manifest {
    /// The interfaces the component exports.
    pub fn exports(&self) -> Vec<&str> {
        let mut exports = vec!["lifecycle"];
        if self.hooks.prepares {
            exports.push("preparation");
        }
        if self.hooks.schedules {
            exports.push("schedules");
        }
        if self.hooks.upgrade {
            exports.push("upgrade");
        }
        exports.extend(self.hooks.wished.keys().map(String::as_str));
        exports
    }

    /// What the generated entry hands to the kit.
    pub fn about(&self, version: &str, key: impl Fn(&str) -> String) -> Value {
        let hooks: Map<String, Value> = self
            .hooks
            .wished
            .iter()
            .map(|(hook, wished)| {
                let wished = wished.as_object().into_iter().flatten();
                let wished: Map<String, Value> = wished
                    .map(|(name, value)| (key(name), value.clone()))
                    .collect();
                (hook.clone(), Value::Object(wished))
            })
            .collect();
        serde_json::json!({
            "name": self.name,
            "version": version,
            "summary": self.summary,
            "hooks": hooks,
            "abilities": self.abilities,
            "prepares": self.hooks.prepares,
            "schedules": self.hooks.schedules,
            "upgrade": self.hooks.upgrade,
        })
    }

    /// Writes the contract and the plugin's own world, `plugin`, into a folder.
    pub fn write_world(&self, folder: &Path) -> Result<()> {
        let contract = self.kit.join("../../wit/v1");
        let deps = folder.join("deps/kith");
        std::fs::create_dir_all(&deps)?;
        let listed = std::fs::read_dir(&contract).with_context(|| {
            format!(
                "{} is missing: the kit {} comes with the contract two folders above it",
                contract.display(),
                self.kit.display()
            )
        })?;
        for item in listed {
            let path = item?.path();
            if let (Some(name), true) = (
                path.file_name(),
                path.extension().is_some_and(|ext| ext == "wit"),
            ) {
                std::fs::copy(&path, deps.join(name))?;
            }
        }
        let mut world = "package kith:build;\n\nworld plugin {\n".to_owned();
        for ability in &self.abilities {
            world.push_str(&format!("  import kith:plugin/{ability}@{CONTRACT};\n"));
        }
        for export in self.exports() {
            world.push_str(&format!("  export kith:plugin/{export}@{CONTRACT};\n"));
        }
        world.push_str("}\n");
        std::fs::write(folder.join("world.wit"), world)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said<'a>(hooks: &'a Value, abilities: &'a Value) -> Said<'a> {
        Said {
            file: "package.json",
            hooks: Some(hooks),
            abilities: Some(abilities),
        }
    }

    #[test]
    fn hooks_are_names_or_a_table_of_wishes() {
        let names = json!(["observer", "preparation", "schedules", "upgrade"]);
        let hooks = said(&names, &Value::Null).hooks().expect("hooks");
        assert_eq!(hooks.wished.keys().collect::<Vec<_>>(), ["observer"]);
        assert!(hooks.prepares && hooks.schedules && hooks.upgrade);
        let table = json!({"command": {"onFailed": "hold", "budget_us": 500}});
        let hooks = said(&table, &Value::Null).hooks().expect("hooks");
        assert_eq!(
            hooks.wished["command"],
            json!({"on_failed": "hold", "budget_us": 500})
        );
    }

    #[test]
    fn what_a_manifest_gets_wrong_is_named() {
        let wrong = |hooks: Value, abilities: Value| {
            let said = said(&hooks, &abilities);
            let outcome = said.hooks().and_then(|_| said.abilities());
            outcome.expect_err("it is wrong").to_string()
        };
        assert!(wrong(json!([]), json!([])).contains("names no hooks"));
        assert!(wrong(json!(["observe"]), json!([])).contains("no hook observe"));
        assert!(wrong(json!({"command": {"ordr": 1}}), json!([])).contains("no ordr"));
        assert!(wrong(json!(["command"]), json!(["files"])).contains("no ability files"));
    }
}
