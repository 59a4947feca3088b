//! The shadows that run, by plugin: each with its queue, its thread and its counts from when it was started. A plan says
//! which there are to be.

use std::collections::HashMap;
use std::sync::Arc;

use kith_runtime::{LoadError, Reader, Shadow};
use parking_lot::Mutex;

use crate::plugins::bindings::{Plan, Trial};

#[derive(Default)]
pub(super) struct Shadows(Mutex<HashMap<String, Running>>);

#[derive(Clone)]
pub(super) struct Running {
    pub digest: String,
    /// Of the trial; a trial of the same version that began later is another one.
    since: u64,
    pub shadow: Arc<Shadow>,
    /// Since when it counts, milliseconds since 1970 UTC: a process counts anew.
    pub counts_since: u64,
}

impl Shadows {
    /// The running shadow of a trial, started where there is none.
    pub fn of(
        &self,
        plugin: &str,
        trial: &Trial,
        (now_ms, reader): (u64, Reader),
    ) -> Result<Arc<Shadow>, LoadError> {
        let mut all = self.0.lock();
        let own = all.get(plugin);
        if let Some(own) = own.filter(|own| own.is_of(trial)) {
            return Ok(own.shadow.clone());
        }
        let shadow = Shadow::start(plugin, reader)?;
        let running = Running {
            digest: trial.version.digest.clone(),
            since: trial.since,
            shadow: shadow.clone(),
            counts_since: now_ms,
        };
        if let Some(before) = all.insert(plugin.to_owned(), running) {
            before.shadow.end();
        }
        Ok(shadow)
    }

    pub fn running(&self, plugin: &str) -> Option<Running> {
        self.0.lock().get(plugin).cloned()
    }

    /// Ends those a plan has no more.
    pub fn keep_only(&self, plan: &Plan) {
        self.0.lock().retain(|plugin, running| {
            let wanted = plan.shadows.get(plugin);
            let stays = wanted.is_some_and(|trial| running.is_of(trial));
            if !stays {
                running.shadow.end();
            }
            stays
        });
    }
}

impl Running {
    fn is_of(&self, trial: &Trial) -> bool {
        (self.since, &self.digest) == (trial.since, &trial.version.digest)
    }
}
