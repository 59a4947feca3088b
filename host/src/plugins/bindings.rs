//! What a generation is made of, as it is kept:
//! bindings and each plugin's version, as data. No WASM here.

use std::collections::BTreeMap;

use kith_runtime::Grants;
use serde::{Deserialize, Serialize};

/// A generation's content: everything needed to build it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order decision records count them.
    pub bindings: Vec<BindingPlan>,
    /// By plugin name.
    pub plugins: BTreeMap<String, PluginPlan>,
    /// By plugin name: versions that see what happens and decide nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shadows: BTreeMap<String, Trial>,
    /// By plugin name: versions that decide in a share of the conversations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub canaries: BTreeMap<String, Trial>,
    /// By plugin name, where nodes share the store: the print of the configuration it is under.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// A version that is tried beside the one that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub version: VersionRef,
    /// Milliseconds since 1970 UTC.
    pub since: u64,
    /// The share of conversations, 1 to 100; of a shadow, which sees all, it is 100.
    pub percent: u8,
    /// As the version wishes to be bound; what an administrator set for the plugin's bindings is over it.
    pub wishes: Vec<BindingPlan>,
}

/// A plugin that has been activated at least once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginPlan {
    pub version: String,
    pub digest: String,
    /// What `rollback` goes back to.
    pub previous: Option<VersionRef>,
    /// Unbound by an administrator; its bindings are kept for `enable`.
    pub disabled: bool,
    /// What it may do after the commit.
    #[serde(default)]
    pub grants: Grants,
    /// Which of its namespaces its keys and values are in: another one after its state was made anew.
    #[serde(default, skip_serializing_if = "is_first")]
    pub namespace: u64,
    /// The one that `previous` had.
    #[serde(default, skip_serializing_if = "is_first")]
    pub previous_namespace: u64,
    /// Until when its activation is watched, milliseconds since 1970 UTC: till then it is rolled back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_until: Option<u64>,
    /// What tells the configuration in force from others; not known of generations of long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

fn is_first(namespace: &u64) -> bool {
    *namespace == 0
}

/// The store's name of a namespace of a plugin; 0 is the first.
pub fn namespace_of(plugin: &str, number: u64) -> String {
    match number {
        0 => plugin.to_owned(),
        number => format!("{plugin}/{number}"),
    }
}

impl PluginPlan {
    /// The one that serves.
    pub fn version(&self) -> VersionRef {
        VersionRef {
            version: self.version.clone(),
            digest: self.digest.clone(),
        }
    }
}

/// One version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRef {
    pub version: String,
    pub digest: String,
}

/// What to do when a hook failed or is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    Pass,
    Reject,
    Unavailable,
    Hold,
    /// Ask the binding's fallback version.
    Fallback,
}

impl FailurePolicy {
    /// The default of a hook: a filter holds, a strategy makes the send fail, what follows a commit is skipped.
    pub fn default_of(hook: &str) -> Self {
        match hook {
            "content-filter" => Self::Hold,
            "observer" | "responder" => Self::Pass,
            _ => Self::Unavailable,
        }
    }
}

/// Whether instances are kept between calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    Reuse,
    Message,
}

/// In which conversations a binding applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingScope {
    All,
    Direct,
    Group,
    #[serde(rename = "self")]
    Own,
}

/// A plugin attached to a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingPlan {
    pub plugin: String,
    /// What it was when the generation was made: decision records name it.
    pub version: String,
    pub digest: String,
    pub hook: String,
    pub order: i32,
    pub scope: BindingScope,
    pub on_failed: FailurePolicy,
    pub on_absent: FailurePolicy,
    /// A version of the same plugin, for the policy `fallback`.
    pub fallback: Option<VersionRef>,
    pub isolation: Isolation,
    /// Soft budget of a call, microseconds; 0 is the tier's.
    pub budget_us: u32,
    /// The commands it answers, as it last named them.
    #[serde(default)]
    pub commands: Vec<String>,
    /// The id of the service account a responder answers for; empty is the plugin's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// What the names of a filter's levels mean here: `mask`, `reject` or `hold`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, Level>,
}

/// What a filter's hit leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Mask,
    Reject,
    Hold,
}

/// A change of a binding; `None` leaves a thing as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BindingChange {
    #[serde(default)]
    pub order: Option<i32>,
    /// `all`, `direct`, `group` or `self`.
    #[serde(default)]
    pub scope: Option<String>,
    /// `pass`, `reject`, `unavailable`, `hold` or `fallback`; of observers and responders `pass` alone.
    #[serde(default)]
    pub on_failed: Option<String>,
    #[serde(default)]
    pub on_absent: Option<String>,
    /// A version that was pushed.
    #[serde(default)]
    pub fallback: Option<String>,
    /// `reuse` or `message`; observers and responders have a fresh instance for every call either way.
    #[serde(default)]
    pub isolation: Option<String>,
    #[serde(default)]
    pub budget_us: Option<u32>,
    /// Responders: the service account they answer for, by name or id.
    #[serde(default)]
    pub account: Option<String>,
    /// Content filters: what the names of their levels mean, `mask`, `reject` or `hold`; the whole table.
    #[serde(default)]
    pub levels: Option<BTreeMap<String, String>>,
}

/// Reads one of an open set's names as its type.
pub fn named<T: for<'de> Deserialize<'de>>(what: &str, name: &str) -> Result<T, String> {
    let value = serde_json::Value::String(name.to_owned());
    serde_json::from_value(value).map_err(|_| format!("{name} is not a {what}"))
}

impl Plan {
    /// The bindings that serve: those of plugins that are not disabled.
    pub fn serving(&self) -> impl Iterator<Item = &BindingPlan> {
        self.bindings
            .iter()
            .filter(|binding| !self.is_disabled(&binding.plugin))
    }

    /// The bindings that decision records count: those that serve, and behind them the canaries'.
    pub fn in_records(&self) -> Vec<BindingPlan> {
        let mut counted: Vec<_> = self.serving().cloned().collect();
        for (name, trial) in &self.canaries {
            if !self.is_disabled(name) {
                counted.extend(self.trial_bindings(trial));
            }
        }
        counted
    }

    /// How a version on trial is bound: as what serves where it is at the same hook, else as it wishes.
    pub fn trial_bindings(&self, trial: &Trial) -> impl Iterator<Item = BindingPlan> {
        trial.wishes.iter().map(|wish| {
            let mut bindings = self.bindings.iter();
            let known = bindings.find(|own| own.plugin == wish.plugin && own.hook == wish.hook);
            known.map_or_else(
                || wish.clone(),
                |known| BindingPlan {
                    version: wish.version.clone(),
                    digest: wish.digest.clone(),
                    commands: wish.commands.clone(),
                    ..known.clone()
                },
            )
        })
    }

    /// A command among some of a plugin's that another serving plugin answers, and which.
    pub fn bound_elsewhere<'a, 'b>(
        &'b self,
        plugin: &str,
        commands: impl IntoIterator<Item = &'a str>,
    ) -> Option<(&'a str, &'b str)> {
        for command in commands {
            let answers = |binding: &&BindingPlan| {
                let mut known = binding.commands.iter();
                binding.plugin != plugin && known.any(|known| known == command)
            };
            if let Some(other) = self.serving().find(answers) {
                return Some((command, &other.plugin));
            }
            let tries = |(name, trial): &(&String, &Trial)| {
                let mut known = trial.wishes.iter().flat_map(|wish| &wish.commands);
                *name != plugin && known.any(|known| known == command)
            };
            if let Some((other, _)) = self.canaries.iter().find(tries) {
                return Some((command, other));
            }
        }
        None
    }

    pub fn is_disabled(&self, plugin: &str) -> bool {
        self.plugins.get(plugin).is_some_and(|plan| plan.disabled)
    }

    /// Puts every binding of a plugin on a version, adding and taking away hooks as the version exports them.
    pub fn place(&mut self, name: &str, version: &VersionRef, defaults: Vec<BindingPlan>) {
        let kept: Vec<BindingPlan> = std::mem::take(&mut self.bindings);
        let (own, others): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|binding| binding.plugin == name);
        self.bindings = others;
        for default in defaults {
            let known = own.iter().find(|binding| binding.hook == default.hook);
            let commands = default.commands.clone();
            let mut binding = known.cloned().unwrap_or(default);
            binding.version.clone_from(&version.version);
            binding.digest.clone_from(&version.digest);
            binding.commands = commands;
            self.bindings.push(binding);
        }
        self.bindings
            .sort_by(|a, b| (&a.hook, a.order, &a.plugin).cmp(&(&b.hook, b.order, &b.plugin)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(plugin: &str, hook: &str, order: i32) -> BindingPlan {
        BindingPlan {
            plugin: plugin.into(),
            version: "1.0.0".into(),
            digest: "sha256:1".into(),
            hook: hook.into(),
            order,
            scope: BindingScope::All,
            on_failed: FailurePolicy::default_of(hook),
            on_absent: FailurePolicy::default_of(hook),
            fallback: None,
            isolation: Isolation::Reuse,
            budget_us: 0,
            commands: Vec::new(),
            account: String::new(),
            levels: BTreeMap::new(),
        }
    }

    #[test]
    fn a_new_version_keeps_what_an_administrator_set() {
        let mut plan = Plan::default();
        let first = VersionRef {
            version: "1.0.0".into(),
            digest: "sha256:1".into(),
        };
        plan.place(
            "words",
            &first,
            vec![binding("words", "content-filter", 100)],
        );
        plan.bindings[0].on_failed = FailurePolicy::Reject;
        let second = VersionRef {
            version: "2.0.0".into(),
            digest: "sha256:2".into(),
        };
        let defaults = vec![
            binding("words", "content-filter", 5),
            binding("words", "message-strategy", 7),
        ];
        plan.place("words", &second, defaults);
        let found: Vec<_> = plan
            .bindings
            .iter()
            .map(|b| (b.hook.as_str(), b.order, b.on_failed))
            .collect();
        assert_eq!(
            found,
            [
                ("content-filter", 100, FailurePolicy::Reject),
                ("message-strategy", 7, FailurePolicy::Unavailable)
            ]
        );
        assert!(
            plan.bindings
                .iter()
                .all(|binding| binding.digest == "sha256:2")
        );
    }

    #[test]
    fn a_command_is_bound_elsewhere_while_another_plugin_serves_it() {
        let mut plan = Plan::default();
        let dice = BindingPlan {
            commands: vec!["roll".into()],
            ..binding("dice", "command", 1)
        };
        let version = VersionRef {
            version: "1.0.0".into(),
            digest: "sha256:1".into(),
        };
        plan.place("dice", &version, vec![dice]);
        let clash = |plan: &Plan, name: &str| {
            let found = plan.bound_elsewhere(name, ["flip", "roll"]);
            found.map(|(command, other)| format!("{command} of {other}"))
        };
        assert_eq!(clash(&plan, "cards").as_deref(), Some("roll of dice"));
        assert_eq!(clash(&plan, "dice"), None);
        let disabled = PluginPlan {
            version: version.version.clone(),
            digest: version.digest.clone(),
            previous: None,
            disabled: true,
            grants: Grants::default(),
            namespace: 0,
            previous_namespace: 0,
            watched_until: None,
            config: None,
        };
        plan.plugins.insert("dice".into(), disabled);
        assert_eq!(clash(&plan, "cards"), None);
    }

    #[test]
    fn a_canary_is_counted_behind_what_serves_and_bound_as_it_is() {
        let mut plan = Plan::default();
        let version = |number: &str| VersionRef {
            version: number.into(),
            digest: format!("sha256:{number}"),
        };
        plan.place(
            "words",
            &version("1"),
            vec![binding("words", "content-filter", 5)],
        );
        plan.bindings[0].on_failed = FailurePolicy::Reject;
        let wish = |hook| BindingPlan {
            version: "2".into(),
            digest: "sha256:2".into(),
            ..binding("words", hook, 9)
        };
        let trial = Trial {
            version: version("2"),
            since: 1,
            percent: 10,
            wishes: vec![wish("content-filter"), wish("message-strategy")],
        };
        plan.canaries.insert("words".into(), trial);
        let counted = plan.in_records();
        let found: Vec<_> = counted
            .iter()
            .map(|b| (b.version.as_str(), b.order, b.on_failed))
            .collect();
        assert_eq!(
            found,
            [
                ("1", 5, FailurePolicy::Reject),
                ("2", 5, FailurePolicy::Reject),
                ("2", 9, FailurePolicy::Unavailable)
            ]
        );
        let kept = serde_json::to_string(&plan).expect("encodes");
        assert_eq!(serde_json::from_str::<Plan>(&kept).expect("reads"), plan);
    }

    #[test]
    fn an_unknown_policy_is_named() {
        assert_eq!(
            named::<FailurePolicy>("policy", "shrug"),
            Err("shrug is not a policy".to_owned())
        );
        assert_eq!(
            named::<FailurePolicy>("policy", "hold"),
            Ok(FailurePolicy::Hold)
        );
    }
}
