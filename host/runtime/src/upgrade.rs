//! Asking a version what becomes of the state of the one before, and having it say what a copy of that is to be. Each call in
//! a fresh instance, under the limits of preparing. Who copies, and when, is the host's.

use std::sync::Arc;

use crate::bindings::upgrade as wit;
use crate::error::Failure;
use crate::instance::classify;
use crate::version::Version;

/// Most writes of one step.
const WRITES_MAX: usize = 4096;
const KEY_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 64 << 10;

/// A key as it stands with the version before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeItem {
    pub key: String,
    /// None where it is not there any more.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970 UTC; 0 for never.
    pub ends_at_ms: u64,
}

impl Version {
    /// What its state needs when it takes over from another version; an error inside is its own refusal. Blocks.
    pub fn needs(&self, from: &str) -> Result<Result<wit::Need, String>, Failure> {
        self.upgrade(None, |store, guest| guest.call_needs(store, from))
            .unwrap_or(Ok(Ok(wit::Need::Compatible)))
    }

    /// One step of a migration in a namespace: what is to be written over these keys. Blocks.
    pub fn migrate(
        &self,
        namespace: &Arc<str>,
        from: &str,
        items: &[UpgradeItem],
    ) -> Result<Result<Vec<wit::Write>, String>, Failure> {
        let items: Vec<wit::Item<'_>> = items
            .iter()
            .map(|item| wit::Item {
                key: &item.key,
                value: item.value.as_deref(),
                ends_at_ms: item.ends_at_ms,
            })
            .collect();
        let answer = self.upgrade(Some(namespace), |store, guest| {
            guest.call_migrate(store, from, &items)
        });
        let answer = answer
            .unwrap_or_else(|| Err(Failure::BadOutput("it does not export upgrade".into())))?;
        if let Ok(writes) = &answer {
            check(writes).map_err(Failure::BadOutput)?;
        }
        Ok(answer)
    }

    fn upgrade<T>(
        &self,
        reads: Option<&Arc<str>>,
        ask: impl FnOnce(
            &mut wasmtime::Store<crate::abilities::GuestState>,
            &wit::Guest,
        ) -> wasmtime::Result<T>,
    ) -> Option<Result<T, Failure>> {
        let factory = &self.pool.factory;
        let exports = factory.exports.upgrade.as_ref()?;
        let mut instance = match factory.make() {
            Ok(instance) => instance,
            Err(failure) => return Some(Err(failure)),
        };
        instance.arm(factory.settings.ticks(factory.settings.preparation_stop), 0);
        if let Some(namespace) = reads {
            instance.store.data_mut().reads.open(namespace);
        }
        let guest: wasmtime::Result<wit::Guest> =
            exports.load(&mut instance.store, &instance.component);
        let answer = guest.and_then(|guest| ask(&mut instance.store, &guest));
        Some(answer.map_err(|error| classify(&error, instance.store.data_mut())))
    }
}

fn check(writes: &[wit::Write]) -> Result<(), String> {
    if writes.len() > WRITES_MAX {
        return Err(format!(
            "{} writes of one step; at most {WRITES_MAX} are taken",
            writes.len()
        ));
    }
    let unfit = writes.iter().find(|write| {
        let bytes = write.value.as_ref().map_or(0, Vec::len);
        write.key.is_empty() || write.key.len() > KEY_BYTES_MAX || bytes > VALUE_BYTES_MAX
    });
    match unfit {
        Some(_) => Err(format!(
            "a key has 1 to {KEY_BYTES_MAX} bytes, its value at most {VALUE_BYTES_MAX}"
        )),
        None => Ok(()),
    }
}
