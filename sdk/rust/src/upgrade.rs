//! What becomes of what a plugin keeps when one of its versions takes over from another,
//! and when it wants to be called by the clock.

use crate::Plugin;

/// What the state needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The version goes on with what is there.
    Compatible,
    /// It wants another form: `Upgrade::migrate` makes it, in a copy.
    Migrate,
    /// It begins with nothing and is shown so many of the newest commits by its observer.
    Rebuild(u64),
}

/// A key and what is kept under it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub key: String,
    /// `None` where it is not there, or is not to be.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970 UTC; 0 for never.
    pub ends_at_ms: u64,
}

impl Kept {
    /// The key is not to be there.
    pub fn gone(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..Self::default()
        }
    }

    /// The same value and end, under another key.
    pub fn under(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// The same key and end, with another value.
    pub fn with(&self, value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..self.clone()
        }
    }
}

/// For versions that keep other things than those before them. See `wit/v1/upgrade.wit`.
///
/// ```
/// use kith_plugin::{HookDefault, Kept, Need, Plugin, Upgrade};
///
/// struct Counter;
///
/// impl Plugin for Counter {
///     const SUMMARY: &'static str = "Counts.";
///     const CONFIG_SCHEMA: &'static str = "{}";
///     fn hooks() -> Vec<HookDefault> { vec![HookDefault::new("observer")] }
///     fn configure(_: &[u8]) -> Result<Self, String> { Ok(Self) }
/// }
///
/// impl Upgrade for Counter {
///     fn needs(&self, from: &str) -> Result<Need, String> {
///         Ok(if from.starts_with("1.") { Need::Migrate } else { Need::Compatible })
///     }
///
///     // `count:X` of version 1 is `n/X` here.
///     fn migrate(&self, _: &str, items: &[Kept]) -> Result<Vec<Kept>, String> {
///         let moved = items.iter().filter_map(|item| {
///             let name = item.key.strip_prefix("count:")?;
///             Some([item.under(&format!("n/{name}")), Kept::gone(&item.key)])
///         });
///         Ok(moved.flatten().collect())
///     }
/// }
///
/// let item = Kept { key: "count:ann".into(), value: Some(b"3".to_vec()), ends_at_ms: 0 };
/// let moved = Counter.migrate("1.0.0", &[item]).unwrap();
/// assert_eq!((moved[0].key.as_str(), moved[0].value.as_deref()), ("n/ann", Some(&b"3"[..])));
/// assert_eq!(moved[1], Kept::gone("count:ann"));
/// ```
pub trait Upgrade: Plugin {
    /// Asked before this version takes over from another one; an error refuses it.
    fn needs(&self, from_version: &str) -> Result<Need, String>;

    /// Some keys of the version before: what is to be written over them in the copy. A key that is written meanwhile, or
    /// deleted, is shown again.
    fn migrate(&self, from_version: &str, items: &[Kept]) -> Result<Vec<Kept>, String> {
        let _ = (from_version, items);
        Ok(Vec::new())
    }
}

/// For plugins that want to be called by the clock: `AdminRule::schedule`, or an `Observer`'s event of the kind `schedule`
/// whose text is the name.
pub trait Schedules: Plugin {
    /// Names with times: `every 10m`, or five fields of cron, in UTC or in the time zone behind them.
    fn times(&self) -> Vec<(String, String)>;
}
