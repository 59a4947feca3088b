//! Which conversations a binding is asked about: all, or a share that is the same on every node and after every restart.
//! It decides by the conversation's id alone.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::hook::Scope;

/// Where something happens: in which kind of conversation, and in which one (empty where there is none).
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pub scope: Scope,
    pub conversation: &'a str,
}

impl From<Scope> for Site<'static> {
    /// Somewhere in no particular conversation.
    fn from(scope: Scope) -> Self {
        Self {
            scope,
            conversation: "",
        }
    }
}

/// A share of all conversations. A larger percentage of the same name holds what a smaller one held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    name: Arc<str>,
    percent: u8,
}

impl Lot {
    /// `name` mixes the conversations anew: two lots of different names hold different ones.
    pub fn new(name: &str, percent: u8) -> Self {
        Self {
            name: name.into(),
            percent,
        }
    }

    /// What happens in no conversation is never drawn.
    pub fn holds(&self, conversation: &str) -> bool {
        if conversation.is_empty() {
            return false;
        }
        let mut hash = Sha256::new();
        hash.update((self.name.len() as u64).to_le_bytes());
        hash.update(self.name.as_bytes());
        hash.update(conversation.as_bytes());
        let hash = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        u64::from_le_bytes(first) % 100 < u64::from(self.percent)
    }
}

/// The conversations a binding is asked about, among those its scope covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Share {
    #[default]
    All,
    /// Those of a lot: a canary's.
    Within(Lot),
    /// All others: of the version a canary runs beside.
    Without(Lot),
    /// None: what could not be loaded and would only fail.
    Nothing,
}

impl Share {
    pub fn holds(&self, conversation: &str) -> bool {
        match self {
            Self::All => true,
            Self::Within(lot) => lot.holds(conversation),
            Self::Without(lot) => !lot.holds(conversation),
            Self::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_about_as_large_as_asked_for_and_grows_without_moving_anybody() {
        let held = |name: &str, percent| {
            let lot = Lot::new(name, percent);
            (0..10_000_u32)
                .filter(|n| lot.holds(&format!("c{n}")))
                .collect::<Vec<_>>()
        };
        for percent in [1_u8, 10, 50, 99] {
            let count = held("a@1", percent).len();
            let expected = usize::from(percent) * 100;
            assert!(count.abs_diff(expected) < 250, "{percent} %: {count}");
        }
        assert_eq!(held("a@1", 0).len(), 0);
        assert_eq!(held("a@1", 100).len(), 10_000);
        let (small, large) = (held("a@1", 10), held("a@1", 20));
        assert!(small.iter().all(|held| large.contains(held)));
        assert_ne!(held("a@1", 10), held("a@2", 10));
    }

    #[test]
    fn a_lot_and_the_rest_are_everything_once_and_nowhere_is_in_the_rest() {
        let lot = Lot::new("a@1", 30);
        for n in 0..1000 {
            let conversation = format!("c{n}");
            let within = Share::Within(lot.clone()).holds(&conversation);
            assert_ne!(within, Share::Without(lot.clone()).holds(&conversation));
        }
        assert!(!Share::Within(Lot::new("a@1", 100)).holds(""));
        assert!(Share::Without(Lot::new("a@1", 100)).holds(""));
    }
}
