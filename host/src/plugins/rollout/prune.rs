//! Pruning: the registry lets go of what neither serves nor could be gone back to, component and compiled code. That a
//! name and version mean one digest, and that a digest is quarantined, outlives its component.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::Rollout;
use super::build::needed;
use crate::journey::store_refusal;
use crate::refusal::{Code, Refusal};
use crate::store::accounts::PluginVersion;

/// What a prune did, or with `dry_run` would have done.
#[derive(Debug)]
pub struct Pruned {
    pub removed: Vec<PluginVersion>,
    /// Bytes of compiled code that nothing uses.
    pub code_bytes: u64,
    pub dry_run: bool,
}

impl Pruned {
    pub fn json(&self) -> Value {
        let row = |version: &PluginVersion| {
            json!({
                "name": version.name,
                "version": version.version,
                "digest": version.digest,
                "bytes": version.size,
            })
        };
        let components: u64 = self.removed.iter().map(|version| version.size).sum();
        json!({
            "removed": self.removed.iter().map(row).collect::<Vec<_>>(),
            "freed": {"components": components, "code": self.code_bytes},
            "dry_run": self.dry_run,
        })
    }
}

impl Rollout {
    /// Removes every version that no plan needs, but the `keep` newest of them of each plugin. What serves, what a
    /// rollback goes to and every fallback stay.
    pub async fn prune(&self, keep: usize, dry_run: bool) -> Result<Pruned, Refusal> {
        // No change is under way; a rollback only goes to what is needed now.
        let _changing = self.changing.lock().await;
        self.caught_up().await?;
        let plan = self.state.lock().await.plan.clone();
        let needed: HashSet<String> = needed(&plan)
            .into_iter()
            .map(|(_, version)| version.digest)
            .collect();
        let known = self
            .accounts
            .plugins()
            .await
            .map_err(|e| store_refusal(&e))?;
        let (removed, staying) = split(known, &needed, keep);
        let code_bytes = self.unused_code(staying, !dry_run).await?;
        if !dry_run && !removed.is_empty() {
            let digests: Vec<String> = removed.iter().map(|v| v.digest.clone()).collect();
            self.accounts
                .prune_plugins(&digests)
                .await
                .map_err(|e| store_refusal(&e))?;
            self.loaded.forget_hooks(&digests);
        }
        Ok(Pruned {
            removed,
            code_bytes,
            dry_run,
        })
    }

    async fn unused_code(&self, staying: Vec<String>, remove: bool) -> Result<u64, Refusal> {
        let (runtime, loaded) = (self.runtime.clone(), self.loaded.all());
        let swept = tokio::task::spawn_blocking(move || {
            let staying: Vec<&str> = staying.iter().map(String::as_str).collect();
            runtime.unused_code(&loaded, &staying, remove)
        });
        let swept = swept.await.map_err(|_| {
            Refusal::new(
                Code::Internal,
                "looking through the code cache ended unexpectedly",
            )
        })?;
        swept.map_err(|error| Refusal::unavailable(format!("nothing was pruned: {error}")))
    }
}

/// The versions to remove, and the digests of those that stay. `known` is by name, the oldest first.
fn split(
    known: Vec<PluginVersion>,
    needed: &HashSet<String>,
    keep: usize,
) -> (Vec<PluginVersion>, Vec<String>) {
    let mut kept: HashMap<String, usize> = HashMap::new();
    let (mut removed, mut staying) = (Vec::new(), Vec::new());
    for version in known.into_iter().rev().filter(|version| !version.pruned) {
        if needed.contains(&version.digest) {
            staying.push(version.digest);
            continue;
        }
        let kept = kept.entry(version.name.clone()).or_default();
        if *kept < keep {
            *kept += 1;
            staying.push(version.digest);
        } else {
            removed.push(version);
        }
    }
    removed.reverse();
    (removed, staying)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, digest: &str, pruned: bool) -> PluginVersion {
        PluginVersion {
            name: name.to_owned(),
            version: digest.to_owned(),
            digest: digest.to_owned(),
            size: 1,
            pushed_at: 0,
            quarantined: false,
            signed_by: None,
            signature: None,
            pruned,
        }
    }

    #[test]
    fn what_is_needed_stays_and_the_newest_of_the_rest_as_many_as_asked_for() {
        let known = || {
            vec![
                version("a", "a1", false),
                version("a", "a2", false),
                version("a", "a3", true),
                version("a", "a4", false),
                version("b", "b1", false),
            ]
        };
        let needed = HashSet::from(["a4".to_owned()]);
        for (keep, removed) in [
            (0, vec!["a1", "a2", "b1"]),
            (1, vec!["a1"]),
            (2, Vec::new()),
            (usize::MAX, Vec::new()),
        ] {
            let (found, staying) = split(known(), &needed, keep);
            let found: Vec<_> = found.iter().map(|version| &version.digest).collect();
            assert_eq!(found, removed, "keep {keep}");
            assert_eq!(staying.len() + found.len(), 4, "what is pruned is neither");
            assert!(staying.contains(&"a4".to_owned()));
        }
    }
}
