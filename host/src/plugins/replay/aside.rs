//! What the serving generations set aside for later: attempts that left no entry, occasions of rules, calls that failed.
//! Attempts and occasions hold what people wrote, so they are in memory alone, few, and for a day: a text that was refused
//! never reaches the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use kith_runtime as runtime;
use parking_lot::Mutex;

use super::asked::Asked;
use super::attempt::{Attempt, Occurred};
use super::files::{Files, Made};
use crate::clock::Clock;
use crate::entry::{Beside, DecisionRecord, HookRead};

/// For how long what was refused is kept.
const KEPT_MS: u64 = 86_400_000;
/// A larger content is not kept.
const CONTENT_BYTES: usize = 64 * 1024;

/// How much is set aside.
#[derive(Debug, Clone, Copy)]
pub struct AsideRules {
    /// Attempts, and as many occasions; 0 keeps none.
    pub refused: usize,
}

pub struct Aside {
    pub files: Arc<Files>,
    rules: AsideRules,
    clock: Arc<dyn Clock>,
    attempts: Mutex<VecDeque<Attempt>>,
    occasions: Mutex<VecDeque<Occurred>>,
}

impl Aside {
    pub fn new(files: Arc<Files>, rules: AsideRules, clock: Arc<dyn Clock>) -> Self {
        Self {
            files,
            rules,
            clock,
            attempts: Mutex::default(),
            occasions: Mutex::default(),
        }
    }

    pub fn keeps_attempts(&self) -> bool {
        self.rules.refused > 0
    }

    /// Keeps what left no entry.
    pub fn keep(&self, attempt: Attempt) {
        let size = attempt.sent.as_ref().map_or(0, String::len);
        if self.keeps_attempts() && size <= CONTENT_BYTES {
            let now = self.clock.now_ms();
            add(
                &mut self.attempts.lock(),
                attempt,
                self.rules.refused,
                now,
                Attempt::at_ms,
            );
        }
    }

    /// Keeps an occasion with what the rules said.
    pub fn occurred(&self, asked: Asked, at_ms: u64, record: DecisionRecord) {
        if self.keeps_attempts() {
            let occurred = Occurred {
                asked,
                at_ms,
                record,
            };
            let now = self.clock.now_ms();
            add(
                &mut self.occasions.lock(),
                occurred,
                self.rules.refused,
                now,
                |o| o.at_ms,
            );
        }
    }

    /// What is kept, the newest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = self.attempts.lock();
        forget(&mut attempts, self.clock.now_ms(), Attempt::at_ms);
        attempts.iter().rev().cloned().collect()
    }

    /// The same of occasions.
    pub fn occasions(&self) -> Vec<Occurred> {
        let mut occasions = self.occasions.lock();
        forget(&mut occasions, self.clock.now_ms(), |occurred| {
            occurred.at_ms
        });
        occasions.iter().rev().cloned().collect()
    }

    /// Lets go of what was kept for long enough.
    pub fn forget_old(&self) {
        let now = self.clock.now_ms();
        forget(&mut self.attempts.lock(), now, Attempt::at_ms);
        forget(&mut self.occasions.lock(), now, |occurred| occurred.at_ms);
        self.files.forget_old();
    }

    /// Sets aside what made calls fail.
    pub fn failed(
        &self,
        generation: &runtime::Generation,
        failures: Vec<runtime::HookFailure>,
        asked: impl Fn() -> Asked,
    ) {
        for failed in failures {
            let Some(kind) = failure_kind(&failed.failure) else {
                continue;
            };
            let binding = &generation.bindings()[usize::from(failed.binding)];
            self.files.add(Made {
                plugin: binding.plugin.clone(),
                version: binding.version.clone(),
                digest: failed.digest,
                kind,
                text: failed.failure.to_string(),
                asked: asked(),
                reads: failed.reads,
            });
        }
    }
}

/// Where and by whom what is judged was written: the strategies are told, the filters after them are not. Without an
/// allocation, because every message passes here.
#[derive(Default)]
pub struct Writer(Mutex<(Short, Short)>);

impl Writer {
    pub fn is(&self, conversation: &str, sender: &str) {
        *self.0.lock() = (Short::of(conversation), Short::of(sender));
    }

    /// The conversation and the sender; empty where nobody was asked.
    pub fn told(&self) -> (String, String) {
        let told = self.0.lock();
        (told.0.text(), told.1.text())
    }
}

/// An id as text: at most 32 bytes.
#[derive(Default, Clone, Copy)]
struct Short {
    bytes: [u8; 32],
    length: usize,
}

impl Short {
    fn of(text: &str) -> Self {
        let mut short = Self::default();
        if let Some(place) = short.bytes.get_mut(..text.len()) {
            place.copy_from_slice(text.as_bytes());
            short.length = text.len();
        }
        short
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.length]).into_owned()
    }
}

/// The name of a failure that is the guest's own.
pub fn failure_kind(failure: &runtime::Failure) -> Option<&'static str> {
    match failure {
        runtime::Failure::Trap(_) => Some("trap"),
        runtime::Failure::Timeout => Some("timeout"),
        runtime::Failure::Memory => Some("memory"),
        runtime::Failure::BadOutput(_) => Some("bad-output"),
        runtime::Failure::Broken(_) | runtime::Failure::NoInstance(_) => None,
    }
}

fn add<T>(kept: &mut VecDeque<T>, one: T, most: usize, now: u64, at: impl Fn(&T) -> u64) {
    kept.push_back(one);
    while kept.len() > most {
        kept.pop_front();
    }
    forget(kept, now, at);
}

fn forget<T>(kept: &mut VecDeque<T>, now: u64, at: impl Fn(&T) -> u64) {
    while kept
        .front()
        .is_some_and(|oldest| now.saturating_sub(at(oldest)) > KEPT_MS)
    {
        kept.pop_front();
    }
}

/// What hooks read, as a record keeps it.
pub fn reads(trail: &mut runtime::Trail) -> Vec<HookRead> {
    let reads = std::mem::take(&mut trail.reads).into_iter();
    let reads = reads.map(|read| HookRead {
        binding: read.binding,
        key: read.key,
        value: read.value,
    });
    reads.collect()
}

/// The record of an occasion.
pub fn record(
    generation: u64,
    hooks: Vec<crate::entry::HookTrace>,
    reads: Vec<HookRead>,
) -> DecisionRecord {
    let mut record = crate::plugins::record(generation, hooks, &[]);
    if !reads.is_empty() {
        record.beside = Some(Box::new(Beside { sent: None, reads }));
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_of_a_day_are_kept() {
        let mut kept = VecDeque::new();
        for at in 1..=3_u64 {
            add(&mut kept, at, 2, 3, |at| *at);
        }
        assert_eq!(kept, [2, 3]);
        forget(&mut kept, 3 + KEPT_MS, |at| *at);
        assert_eq!(kept, [3]);
    }
}
